"""Deviations whose random numbers come from one of two chips, and the places at which that is decided."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax

from ..draws._mixed import key_at
from ._chain import Chain
from ._crossbar import Crossbar
from ._deviation import Deviation
from ._draw import Draw
from ._graded import Graded
from ._kinds import DEVIATIONS
from ._rescaled import Rescaled
from ._shared import Shared
from ._spatial import Spatial
from ._synapse_branches import SynapseBranches

READ = "read"
"""The level of what is new at each read."""


class Level(NamedTuple):
    """A level at which a deviation draws.

    Attributes:
        name: the name by which `Hardware.without` switches it off; "read" for what is new at each read.
        common: whether all leaves that name it draw the same numbers.
    """

    name: str
    common: bool = False


@dataclass(frozen=True)
class Sourced(Rescaled):
    """A deviation that is drawn with mixed keys (`draws._mixed`), at the level that it is of.

    Attributes:
        deviation: what is drawn.
        own: the place of the level of its own numbers.
        common: the place of the level that it has in common with other leaves; None for none.
    """

    own: int
    common: int | None = None

    @property
    def elementwise(self) -> bool:
        return self.deviation.elementwise

    @property
    def relative_spread(self) -> float | None:
        return self.deviation.relative_spread

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        chip_key = draw.chip_key if self.common is None else key_at(draw.chip_key, self.common)
        return self.deviation.deviate(replace(draw, key=key_at(draw.key, self.own), chip_key=chip_key), value, strength)


def random_levels(deviation: Deviation) -> tuple[Level, ...]:
    """The levels at which a deviation draws, in a fixed order.

    Examples:
        >>> import limpet
        >>> die = limpet.Shared(limpet.Gaussian(0.1), across="chip")
        >>> random_levels(Chain((die, limpet.Gaussian(0.1), limpet.ReadNoise(0.1))))
        (Level(name='chip', common=True), Level(name='device', common=False), Level(name='read', common=False))
    """
    found: set[Level] = set()

    def place(level: Level) -> int:
        found.add(level)
        return 0

    _by_level(deviation, place)
    return tuple(sorted(found))


def by_level(deviation: Deviation) -> Deviation:
    """The deviation that draws with mixed keys, each level at its place among `random_levels`. One that draws at a
    single level, as far as is known, stays as it is: the key of a chip will do."""
    levels = random_levels(deviation)
    return deviation if len(levels) < 2 and is_known(deviation) else _by_level(deviation, levels.index)


def is_known(deviation: Deviation) -> bool:
    """Whether no class that a user derived draws, of which it is not known what it draws in common."""
    return type(deviation) in (Chain, *DEVIATIONS.values()) and all(map(is_known, deviation._held()))


def _by_level(deviation: Deviation, place: Callable[[Level], int]) -> Deviation:
    if isinstance(deviation, Chain):
        return replace(deviation, members=tuple(_by_level(member, place) for member in deviation.members))
    if isinstance(deviation, Crossbar):
        return replace(deviation, device=_by_level(deviation.device, place))
    if isinstance(deviation, Graded):
        return replace(deviation, deviation=_by_level(deviation.deviation, place))
    if not deviation.random:
        return deviation
    if isinstance(deviation, SynapseBranches):
        core = place(Level("core", True)) if deviation.core_spread else None
        own = place(Level("device")) if deviation.spread or core is None else core
        return Sourced(deviation, own, own if core is None else core)
    common = isinstance(deviation, Spatial | Shared) and (bool(deviation.name) or _of_chip(deviation))
    level = Level(READ if deviation.noisy_reads else deviation.level or "device", common)
    return Sourced(deviation, place(level), place(level) if common else None)


def _of_chip(deviation: Deviation) -> bool:
    return isinstance(deviation, Shared) and deviation.across == "chip"
