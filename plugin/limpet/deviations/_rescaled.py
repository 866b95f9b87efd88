"""Deviations that are another one at a strength of their own."""

from dataclasses import dataclass

from ._deviation import Deviation, checked_deviation


@dataclass(frozen=True)
class Rescaled(Deviation):
    """Base of deviations that act as another one does, at a strength that they change on the way.

    In a chain and within a crossbar they are what that other one is: they draw its numbers, and program what it does.

    Attributes:
        deviation: the deviation whose strength is changed.

    Raises:
        LimpetError: it is none.
    """

    deviation: Deviation

    def __post_init__(self) -> None:
        checked_deviation(self.deviation, f"{type(self).__name__}.deviation")

    @property
    def batched(self) -> bool:
        return self.deviation.batched

    @property
    def relative(self) -> bool:
        return self.deviation.relative

    @property
    def level(self) -> str:
        return self.deviation.level


def acting_of(deviation: Deviation) -> Deviation:
    """The deviation that acts, at whatever strength."""
    return acting_of(deviation.deviation) if isinstance(deviation, Rescaled) else deviation
