"""The levels of variation of a deviation, switching them off, and whether values deviate independently."""

from collections.abc import Collection
from dataclasses import replace

from ._chain import Chain
from ._crossbar import Crossbar
from ._deviation import Deviation
from ._graded import Graded
from ._kinds import DEVIATIONS
from ._off import Off
from ._shared import Shared
from ._spatial import Spatial
from ._synapse_branches import SynapseBranches

_SPREADS = {"device": "spread", "core": "core_spread"}
"""Of `SynapseBranches`, which has two levels: the field that holds the spread of each."""


def levels_of(deviation: Deviation) -> frozenset[str]:
    """The names of the levels that a deviation draws from: "device", "core", and those of `Shared` and `Spatial`.

    Examples:
        >>> import limpet
        >>> sorted(levels_of(Chain((limpet.Shared(limpet.Gaussian(0.1), across="chip"), limpet.Gaussian(0.1)))))
        ['chip', 'device']
    """
    if isinstance(deviation, Chain):
        return frozenset().union(*map(levels_of, deviation.members))
    if isinstance(deviation, Crossbar):
        return levels_of(deviation.device)
    if isinstance(deviation, Graded):
        return levels_of(deviation.deviation)
    if isinstance(deviation, SynapseBranches):
        return frozenset(level for level, field in _SPREADS.items() if getattr(deviation, field))
    return frozenset({deviation.level}) if deviation.level else frozenset()


def without(deviation: Deviation, levels: Collection[str]) -> Deviation:
    """The same deviation without what some levels draw; what the others draw is the same.

    Args:
        deviation: any.
        levels: names, see `levels_of`.
    """
    if isinstance(deviation, Chain):
        return replace(deviation, members=tuple(without(member, levels) for member in deviation.members))
    if isinstance(deviation, Crossbar):
        return replace(deviation, device=without(deviation.device, levels))
    if isinstance(deviation, Graded):
        return replace(deviation, deviation=without(deviation.deviation, levels))
    if isinstance(deviation, SynapseBranches):
        return replace(deviation, **{field: 0.0 for level, field in _SPREADS.items() if level in levels})
    return Off(deviation) if deviation.level and deviation.level in levels else deviation


def independent(deviation: Deviation) -> bool:
    """Whether the values of a chip deviate independently of each other, as far as is known: of a class that a user
    derives it is not.

    Examples:
        >>> import limpet
        >>> independent(limpet.Gaussian(0.1)), independent(limpet.Shared(limpet.Gaussian(0.1), across="column"))
        (True, False)
    """
    if isinstance(deviation, Off):
        return True
    if type(deviation) not in (Chain, *DEVIATIONS.values()) or isinstance(deviation, Shared | Spatial):
        return False
    if isinstance(deviation, Crossbar) and deviation.drift_compensation:
        return False
    if isinstance(deviation, SynapseBranches) and deviation.core_spread:
        return False
    return all(independent(part) for part in deviation._held())
