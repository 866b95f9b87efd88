"""How precise a curve is to be, in place of a number of chips."""

from dataclasses import dataclass

import numpy as np

from .._checked import number, shown, whole
from .._errors import MetricError
from ..results._robustness_curve import Estimate, RobustnessCurve
from ..results._yield import checked_target


@dataclass(frozen=True)
class Precision:
    """Draw chips until an interval is narrow enough: what `robustness_curve` takes in place of a number of chips.

    The interval is looked at after 64 chips, then each time that their number has doubled.

    Attributes:
        half_width: half the width of the 95% interval that is to be reached at every strength.
        of: the quantity that the interval is of: "mean", "yield" (at `target`), or a quantile such as 0.05.
        target: the target of that yield.
        at_most: the budget; after so many chips the curve is given as it is.

    Raises:
        MetricError: one of them is not such a value, or the target is missing.

    Examples:
        >>> Precision(0.01, of="yield", target=0.9, at_most=2000)
        Precision(half_width=0.01, of='yield', target=0.9, at_most=2000)
    """

    half_width: float
    of: Estimate = "mean"
    target: float | None = None
    at_most: int = 10_000

    def __post_init__(self) -> None:
        number("Precision.half_width", self.half_width, 0, above=True, error=MetricError)
        if self.of not in ("mean", "yield") and not (isinstance(self.of, float) and 0 < self.of < 1):
            raise MetricError(
                f"Precision.of = {shown(self.of)}: allowed are 'mean', 'yield' and a quantile between 0 and 1"
            )
        if (self.of == "yield") != (self.target is not None):
            raise MetricError("Precision: of='yield' needs a target, and a target goes with of='yield'")
        if self.target is not None:
            checked_target(self.target)
        whole("Precision.at_most", self.at_most, 1, error=MetricError)

    def reached_by(self, curve: RobustnessCurve) -> bool:
        """Whether the interval is narrow enough at every strength."""
        low, high = curve.interval(self.of, target=self.target)
        return bool(np.all((high - low) / 2 <= self.half_width))
