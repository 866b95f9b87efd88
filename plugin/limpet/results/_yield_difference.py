"""How much a yield changes from one curve to another on the same chips. NumPy and SciPy only."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._errors import MetricError
from ._comparison import require_same_chips
from ._robustness_curve import RobustnessCurve
from ._yield import Yield, checked_confidence, checked_target, yield_of


@dataclass(frozen=True)
class YieldDifference:
    """The yield before and after, on the same chips, and the difference with its interval.

    Attributes:
        before: the yield of the first, with its own interval.
        after: the yield of the second.
        difference: second minus first, a fraction of the chips.
        low: lower end of the interval of the difference.
        high: its upper end.
        gained: the number of chips that pass in the second alone.
        lost: the number that pass in the first alone.
        confidence: the confidence of the intervals.
    """

    before: Yield
    after: Yield
    difference: float
    low: float
    high: float
    gained: int
    lost: int
    confidence: float

    def __str__(self) -> str:
        return (
            f"{self.before.fraction:.1%} -> {self.after.fraction:.1%}, difference {self.difference:+.1%} "
            f"({100 * self.confidence:g}% interval {self.low:+.1%} to {self.high:+.1%}; {self.gained} gained, "
            f"{self.lost} lost)"
        )


def yield_difference(
    first: RobustnessCurve, second: RobustnessCurve, target: float, confidence: float = 0.95
) -> list[YieldDifference]:
    """The yield of two curves on the chips of one number, and the difference, at each strength.

    Because the same chips are counted twice, the two yields are correlated; the interval takes that into account, and
    is narrower than those of the two yields suggest. It is Newcombe's "method 10": the Wilson intervals of the two
    yields, whose distances from the estimates are added in squares, with the correlation of the paired outcomes.

    Args:
        first: a curve.
        second: another on the same chips.
        target: a chip passes at this value or better.
        confidence: the confidence of the intervals.

    Raises:
        MetricError: the curves do not hold the same chips at the same strengths, are antithetic (whose chips are no
            independent ones), `target` is no finite number, or `confidence` none between 0 and 1.

    Reference: R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17:2635-2650 (1998).

    Examples:
        >>> before = RobustnessCurve("accuracy", [0.1], [[0.90, 0.80, 0.70, 0.60]])
        >>> after = RobustnessCurve("accuracy", [0.1], [[0.92, 0.91, 0.93, 0.70]])
        >>> print(*yield_difference(before, after, 0.9))
        25.0% -> 75.0%, difference +50.0% (95% interval -13.5% to +78.9%; 2 gained, 0 lost)
    """
    target, confidence = checked_target(target), checked_confidence(confidence)
    require_same_chips(first, second, "excluded_chips", "chips")
    if first.antithetic or second.antithetic:
        raise MetricError("antithetic chips depend on one another: measure without antithetic=True")
    return [
        _difference(before, after, confidence)
        for before, after in zip(first.reaches(target), second.reaches(target), strict=True)
    ]


def _difference(before: NDArray[np.bool_], after: NDArray[np.bool_], confidence: float) -> YieldDifference:
    chips = len(before)
    both, lost = int((before & after).sum()), int((before & ~after).sum())
    gained, neither = int((~before & after).sum()), int((~before & ~after).sum())
    low, high = paired_interval(both, gained, lost, neither, confidence)
    return YieldDifference(
        yield_of(both + lost, chips, confidence, "exact"),
        yield_of(both + gained, chips, confidence, "exact"),
        (gained - lost) / chips,
        low,
        high,
        gained,
        lost,
        confidence,
    )


def paired_interval(both: int, gained: int, lost: int, neither: int, confidence: float) -> tuple[float, float]:
    """Newcombe's interval of (gained - lost) / chips; see `yield_difference`.

    Args:
        both: chips that pass before and after.
        gained: that pass after alone.
        lost: that pass before alone.
        neither: that pass in none of them.
        confidence: the confidence of the interval.

    Examples:
        >>> "{:.4f} {:.4f}".format(*paired_interval(36, 12, 2, 0, 0.95))
        '0.0569 0.3404'
    """
    chips = both + gained + lost + neither
    first = yield_of(both + lost, chips, confidence, "wilson")
    second = yield_of(both + gained, chips, confidence, "wilson")
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    correlation = 0.0
    if margins:
        excess = both * neither - gained * lost
        # A correction for continuity, of a positive correlation alone.
        excess = max(excess - chips / 2, 0.0) if excess > 0 else excess
        correlation = excess / math.sqrt(margins)
    difference = second.fraction - first.fraction
    below = _distance(second.fraction - second.low, first.high - first.fraction, correlation)
    above = _distance(second.high - second.fraction, first.fraction - first.low, correlation)
    return max(difference - below, -1.0), min(difference + above, 1.0)


def _distance(of_second: float, of_first: float, correlation: float) -> float:
    return math.sqrt(max(of_second**2 - 2 * correlation * of_second * of_first + of_first**2, 0.0))
