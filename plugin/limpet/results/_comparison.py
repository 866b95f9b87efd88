"""Two networks on the same virtual chips: paired differences. NumPy and SciPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._errors import MetricError
from ._condition import condition_label
from ._duration import place_of
from ._robustness_curve import Axis, RobustnessCurve
from ._yield import SIX_DIGITS, Yield, bounds_of, checked_confidence, independent, mean_interval, unseen_share, yield_of


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changes from one network to another, chip by chip.

    Attributes:
        sigmas: strengths, or what the axis says, shape (strengths,).
        difference: mean over chips of second minus first, shape (strengths,); chips that failed in either left out.
        low: lower end of its interval, shape (strengths,).
        high: upper end.
        worse: for each strength, the fraction of chips that get worse (failing is worse), with its exact interval.
        confidence: the confidence of the intervals.
        metric: name of the metric.
        chips: the number of chips that both curves hold.
        axis: "sigma", "scale", or "time" in seconds.
        unseen: the share of all chips that may be unlike every one of these, at that confidence.
    """

    sigmas: NDArray[np.float64]
    difference: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    worse: list[Yield]
    confidence: float
    metric: str
    chips: int
    axis: Axis = "sigma"
    unseen: float = 1.0

    def __str__(self) -> str:
        percent = f"{100 * self.confidence:g}% interval"
        places = [place_of(self.axis, sigma) for sigma in self.sigmas]
        width = max(5, *map(len, places))
        lines = [
            f"{self.metric}, second minus first, on the {self.chips} chips that both curves hold",
            f"{self.axis:{width}}  difference  {percent:>21}  chips that get worse",
        ]
        rows = zip(places, self.difference, self.low, self.high, self.worse, strict=True)
        lines += [
            f"{place:>{width}}  {difference:+10.4g}  {f'{low:+.4g} to {high:+.4g}':>21}  {100 * worse.fraction:19.3g}%"
            for place, difference, low, high, worse in rows
        ]
        lines.append(f"Of chips unlike all of these nothing is known: they are at most {self.unseen:.2%} of all chips.")
        return "\n".join(lines)


def compare(first: RobustnessCurve, second: RobustnessCurve, confidence: float = 0.95) -> Comparison:
    """Compare two networks on the chips that both curves hold.

    Because chip c is the same chip in both, what the chips have in common cancels: the interval is often several times
    narrower than those of the two means suggest.

    Args:
        first: a curve.
        second: another, of the same seed, generator, strengths and kind of chips; may hold more chips or fewer.
        confidence: the confidence of the intervals (for the mean difference as of `RobustnessCurve.interval`, for the
            fraction Clopper and Pearson's).

    Raises:
        MetricError: the curves do not hold the same chips, says what differs; or `confidence` is not between 0 and 1.

    Examples:
        >>> plain = RobustnessCurve("accuracy", [0.1], [[0.90, 0.80, 0.70, 0.60]])
        >>> robust = RobustnessCurve("accuracy", [0.1], [[0.92, 0.83, 0.71, 0.59]])
        >>> print(compare(plain, robust))
        accuracy, second minus first, on the 4 chips that both curves hold
        sigma  difference           95% interval  chips that get worse
          0.1     +0.0125   -0.01575 to +0.03968                   25%
        Of chips unlike all of these nothing is known: they are at most 60.24% of all chips.
    """
    confidence = checked_confidence(confidence)
    require_same_chips(first, second, "antithetic")
    numbers, columns, others = np.intersect1d(first.chip_numbers, second.chip_numbers, return_indices=True)
    chips = len(numbers)
    if not chips:
        raise MetricError("the curves have no chip in common, because those that training used are left out")
    before, after = first.values[:, columns], second.values[:, others]
    with np.errstate(invalid="ignore"):
        change = after - before
    finite = np.isfinite(before) & np.isfinite(after)
    lost = np.isfinite(before) & ~np.isfinite(after)
    worse = lost | (finite & ((change < 0) if first.higher_is_better else (change > 0)))
    low, high = bounds_of(first.higher_is_better, before, after)
    sizes = np.where(finite, np.maximum(np.abs(before), np.abs(after)), 0.0).max(axis=1)
    means, lows, highs = [], [], []
    for values, size, deviates in zip(independent(change, first.antithetic), sizes, first.deviates, strict=True):
        bounds = (low - high, high - low) if deviates else None
        ends = mean_interval(values, confidence, "t", bounds, SIX_DIGITS * size)
        means.append(values.mean() if values.size else np.nan)
        lows.append(ends[0])
        highs.append(ends[1])
    return Comparison(
        sigmas=first.sigmas,
        difference=np.array(means),
        low=np.array(lows),
        high=np.array(highs),
        worse=[yield_of(count, chips, confidence, "exact", first.antithetic) for count in worse.sum(axis=1).tolist()],
        confidence=confidence,
        metric=first.metric,
        chips=chips,
        axis=first.axis,
        unseen=unseen_share(chips // 2 if first.antithetic else chips, confidence),
    )


def require_same_chips(first: RobustnessCurve, second: RobustnessCurve, *names: str) -> None:
    """Refuse two curves of which chip 17 of one is not chip 17 of the other, or that were measured at other strengths.

    Where a curve does not say what it was measured on, as those of old files, its hardware is not looked at.

    Args:
        first: a curve.
        second: another.
        *names: further attributes that must be equal.

    Raises:
        MetricError: says what differs.
    """
    for name in ("metric", "seed", "generator", "draws_version", "axis", "higher_is_better", *names):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise MetricError(f"the curves differ in {name}: {one} and {other}; they must hold the same chips")
    if first.fingerprint and second.fingerprint and first.fingerprint != second.fingerprint:
        raise MetricError(
            f"the curves differ in hardware, so their chips are not the same: {first.hardware or first.fingerprint} "
            f"and {second.hardware or second.fingerprint}; measure both networks on one hardware"
        )
    if not np.array_equal(first.sigmas, second.sigmas):
        places = f"{first.sigmas.tolist()} and {second.sigmas.tolist()}"
        raise MetricError(f"the curves differ in sigmas: {places}; measure both alike")
    for one, other in zip(first.conditions, second.conditions, strict=False):
        if (one.time, one.mirrored) != (other.time, other.mirrored):  # another read of a chip is the same chip
            labels = f"{condition_label(one)} and {condition_label(other)}"
            raise MetricError(f"the curves differ in conditions: {labels}; measure both networks under one condition")
