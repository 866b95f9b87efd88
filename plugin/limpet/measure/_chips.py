"""Which virtual chips are drawn, and how many."""

from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh

from .._checked import flag, shown, whole
from .._errors import LimpetError, MetricError
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number, stream
from ._precision import Precision


@dataclass(frozen=True)
class Chips:
    """Which virtual chips are drawn, and how many; a number alone, or a `limpet.Precision`, stands for so many of them.

    Chip c of a seed and a generator is the same chip in every call and for every network on the same hardware.

    Attributes:
        count: the number of chips; or a `limpet.Precision`, to draw on until an interval is narrow enough, which
            robustness curves take.
        seed: the number that names the chips, from 0 to 2**32 - 1.
        generator: the generator of random numbers, "fast" or "threefry2x32"; another one draws other chips.
        antithetic: whether chips are drawn in pairs of opposite sign, which cancels what is linear in the deviation:
            chips 2k and 2k + 1 are then virtual chip k and its mirror image.
        mesh: a JAX mesh whose devices share the chips, perhaps those of several processes; same values.
        progress: whether a bar on standard error counts the chips that are done; None for a bar where that is a
            terminal.

    Raises:
        MetricError: there is no chip, or half a pair.
        LimpetError: another attribute is none of those allowed.

    Examples:
        >>> Chips(200, seed=1).count
        200
    """

    count: int | Precision = 100
    seed: int = 0
    generator: Generator = DEFAULT_GENERATOR
    antithetic: bool = False
    mesh: Mesh | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.count, Precision):
            object.__setattr__(self, "count", whole("chips", self.count, 1, error=MetricError))
        object.__setattr__(self, "seed", checked_number(self.seed, "seed"))
        object.__setattr__(self, "generator", checked_generator(self.generator))
        if flag("antithetic", self.antithetic) and self.most % 2:
            raise MetricError(f"chips = {self.most}: antithetic chips come in pairs: give an even number of chips")
        if self.mesh is not None and not isinstance(self.mesh, Mesh):
            raise LimpetError(f"mesh = {shown(self.mesh)}: allowed is a jax.sharding.Mesh, and None for one device")

    @property
    def precision(self) -> Precision | None:
        """The precision that is to be reached; None where the number of chips is known."""
        return self.count if isinstance(self.count, Precision) else None

    @property
    def most(self) -> int:
        """The number of chips, at most."""
        return self.count.at_most if isinstance(self.count, Precision) else self.count

    @property
    def key(self) -> jax.Array:
        """The random key from which those of all chips follow, shape ()."""
        return stream(self.seed, "chip", self.generator)


HUNDRED = Chips()
"""The virtual chips where nothing is said."""


def chips_of(given: Any, name: str = "chips") -> Chips:
    """The virtual chips that are meant: `Chips`, or their number alone.

    Raises:
        MetricError: it is no number of chips.
    """
    if isinstance(given, Chips):
        return given
    if isinstance(given, Precision):
        return Chips(given)
    return Chips(whole(name, given, 1, error=MetricError))


def counted_chips(given: Any, consumer: str) -> Chips:
    """The virtual chips that are meant, see `chips_of`, where their number must be known.

    Raises:
        MetricError: a `Precision` is given, which only curves can be measured to.
    """
    chips = chips_of(given)
    if chips.precision is not None:
        raise MetricError(
            f"chips = {shown(chips.count)}: {consumer} takes a number of chips; a Precision is for curves"
        )
    return chips
