"""How precise a curve is to be, in place of a number of chips."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._checked import number, shown, whole
from .._errors import MetricError
from ..results._robustness_curve import Estimate, RobustnessCurve
from ..results._yield import checked_target


@dataclass(frozen=True)
class Precision:
    """Draw chips until an interval is narrow enough: what `robustness_curve` takes in place of a number of chips.

    The interval is looked at after 64 chips, then each time that their number has doubled. Where the budget ends first,
    there is a warning that says how wide it still is.

    The interval of a mean supposes that all chips are like those drawn, see `RobustnessCurve.interval`. Who fears that
    one chip in a hundred is quite another asks for a yield or a quantile, whose intervals hold for any chips.

    Attributes:
        half_width: half the width of the 95% interval that is to be reached at every strength.
        of: the quantity that the interval is of: "mean", "yield" (at `target`), or a quantile such as 0.05.
        target: the target of that yield.
        at_most: the budget; after so many chips the curve is given as it is, with a warning.

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

    def half_widths(self, curve: RobustnessCurve) -> NDArray[np.float64]:
        """Half the width of the interval at each strength, shape (strengths,).

        It is 0 where there is nothing to narrow, see `nothing_to_narrow`.
        """
        low, high = curve.interval(self.of, target=self.target)
        return np.subtract(high, low, out=np.zeros_like(low), where=~self.nothing_to_narrow(curve)) / 2

    def nothing_to_narrow(self, curve: RobustnessCurve) -> NDArray[np.bool_]:
        """At which strengths so many chips fail that mean or quantile is no number, shape (strengths,)."""
        if self.of == "mean":
            return curve.failed == curve.chips
        low, high = curve.interval(self.of, target=self.target)
        return np.isinf(low) & (low == high)

    def reached_by(self, curve: RobustnessCurve) -> bool:
        """Whether the interval is narrow enough at every strength."""
        return bool((self.half_widths(curve) <= self.half_width).all())

    def shortcomings(self, curve: RobustnessCurve) -> str:
        """What a curve that is not drawn on lacks of this precision, in a sentence; empty if nothing."""
        widths, without = self.half_widths(curve), np.flatnonzero(self.nothing_to_narrow(curve))
        what = {"mean": "mean", "yield": "yield"}.get(str(self.of), f"quantile {self.of}")
        if not self.reached_by(curve):
            row = int(widths.argmax())
            why = ""
            if self.of == "mean" and np.isinf(widths[row]) and curve.chips - curve.failed[row] > 1:
                why = " (all chips drawn are alike, and how far off another could be is known of rates alone)"
            return (
                f"chips = {self}: after {curve.chips} chips, which are at most allowed, half the interval of the "
                f"{what} of '{curve.metric}' is {widths[row]:.3g} at {curve.axis} {curve.place(curve.sigmas[row])}"
                f"{why}: raise at_most, or ask for less"
            )
        if without.size:
            places = ", ".join(curve.place(curve.sigmas[row]) for row in without)
            return (
                f"chips = {self}: at {curve.axis} {places} so many chips fail that the {what} of '{curve.metric}' is "
                f"no number, which more chips would not change; ask for the yield, which counts failed chips"
            )
        return ""
