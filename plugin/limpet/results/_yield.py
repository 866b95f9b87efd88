"""Intervals: where the value for all chips lies, judging by those drawn. NumPy and SciPy only."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import MetricError

SIX_DIGITS = 1e-6
"""Numbers that differ by no more than so much of themselves are alike: metrics are computed in single precision."""


@dataclass(frozen=True)
class Yield:
    """The fraction of chips that meet a target.

    Attributes:
        fraction: the fraction of the chips drawn.
        low: lower end of the interval for the fraction of all chips.
        high: its upper end.
        confidence: the confidence of that interval, 0.95 for 95%.
    """

    fraction: float
    low: float
    high: float
    confidence: float


def checked_confidence(confidence: Any) -> float:
    """The confidence of an interval.

    Raises:
        MetricError: it is no number between 0 and 1.
    """
    if isinstance(confidence, bool) or not isinstance(confidence, int | float | np.number) or not 0 < confidence < 1:
        raise MetricError(f"confidence = {confidence!r}: allowed is a number between 0 and 1, 0.95 for 95%")
    return float(confidence)


def checked_target(target: Any) -> float:
    """The value that a chip is to reach.

    Raises:
        MetricError: it is no finite number.
    """
    if isinstance(target, bool) or not isinstance(target, int | float | np.number) or not np.isfinite(target):
        raise MetricError(f"target = {target!r}: allowed is a finite number, the metric that a chip is to reach")
    return float(target)


@lru_cache(maxsize=4096)  # charts of yield over target ask for the same few counts again and again
def yield_of(
    passed: int, chips: int, confidence: float, method: Literal["exact", "wilson"], paired: bool = False
) -> Yield:
    """The yield of `passed` among `chips`, with its binomial interval.

    With `paired`, chips are antithetic: a pair is sure to tell no less than one chip, and counted as one.
    """
    size = 2 if paired else 1
    low, _ = _proportion(passed // size, chips // size, confidence, method)
    _, high = _proportion(-(-passed // size), chips // size, confidence, method)
    return Yield(passed / chips, low, high, confidence)


def _proportion(count: int, size: int, confidence: float, method: str) -> tuple[float, float]:
    if method == "exact":
        # Clopper and Pearson's ends as quantiles of beta distributions: SciPy's own test searches for them, which is a
        # hundred times slower, and a chart of yield over target asks for hundreds.
        from scipy.special import betaincinv

        tail = (1 - confidence) / 2
        low = betaincinv(count, size - count + 1, tail) if count else 0.0
        high = betaincinv(count + 1, size - count, 1 - tail) if count < size else 1.0
        return float(low), float(high)
    from scipy.stats import binomtest

    found = binomtest(count, size).proportion_ci(confidence, method=method)  # pyright: ignore[reportArgumentType]
    return float(found.low), float(found.high)


def independent(values: NDArray[np.float64], antithetic: bool) -> list[NDArray[np.float64]]:
    """Row by row, the values of chips that did not fail and are independent of one another.

    Args:
        values: shape (rows, chips).
        antithetic: whether columns 2k and 2k + 1 are a chip and its mirror image, which count once, by their mean.
    """
    if antithetic:
        pairs = values[:, : values.shape[1] // 2 * 2].reshape(len(values), -1, 2)
        with np.errstate(invalid="ignore"):  # infinities of opposite sign
            values = pairs.mean(axis=2)
    return [row[np.isfinite(row)] for row in values]


def mean_interval(
    values: NDArray[np.float64],
    confidence: float,
    method: str,
    bounds: tuple[float, float] | None,
    rounding: float,
) -> tuple[float, float]:
    """The interval of a mean of independent values.

    Student's t takes the variance that was seen for that of all chips. Where a few chips are far off, it is not: had
    the sample held one more of them, both its mean and its variance had been larger. So on the side of a tail the end
    is the mean at which the sample would be as far off as the confidence allows, with the variance that belongs to that
    mean, as in Wilson's interval of a proportion. With variance s^2 and skewness g > 0 of n values, the variance at the
    mean m + d is taken for s^2 + g s d, and the upper end is m + L + sqrt(L^2 + h^2), where h = t s / sqrt(n) is half
    of Student's interval, and L = t^2 g s / 2n. The lower end stays m - h; with g < 0 it is the other way round. The
    skewness of n Gaussian values has the variance 6 / n: g is that of the sample times g^2 / (g^2 + 6 / n).

    For counts of rare chips the far end is Wilson's. Of Gaussian values the interval is Student's, but for 1 or 2% of
    its width; of an accuracy that is skewed as a beta distribution of 40 and 3 is, it is wider by some 5%.

    Of values that are all alike, nothing is known but how rare others are, see `unseen_share`. The interval holds what
    the mean is if so many chips are at the bounds.

    Args:
        values: independent values.
        confidence: the confidence of the interval.
        method: "t", or "bootstrap": the percentiles of 2,000 resamples (fixed seed).
        bounds: the smallest and the largest value that a chip can have, see `bounds_of`; None where it is known that
            nothing deviates, so that all chips are alike.
        rounding: the difference up to which values count as alike.
    """
    count = len(values)
    if method not in ("t", "bootstrap"):
        raise MetricError(f"method = {method!r}: allowed are 't' and 'bootstrap'")
    if count < 2:
        return -np.inf, np.inf
    mean = float(values.mean())
    if np.ptp(values) <= rounding:
        if bounds is None:
            return mean, mean
        unseen = unseen_share(count, confidence)
        return mean - unseen * (mean - bounds[0]), mean + unseen * (bounds[1] - mean)
    if method == "bootstrap":
        from scipy import stats

        found = stats.bootstrap(
            (values,), np.mean, confidence_level=confidence, n_resamples=2000, method="percentile", rng=0
        )
        return found.confidence_interval.low, found.confidence_interval.high
    spread = float(values.std(ddof=1))
    half = _student_t((1 + confidence) / 2, count - 1) * spread / np.sqrt(count)
    skewness = float((((values - mean) / values.std()) ** 3).mean())
    skewness = skewness**3 / (skewness**2 + 6 / count)
    shift = half / spread * half / 2 * skewness
    reach = np.hypot(shift, half)
    return mean - max(half, reach - shift), mean + max(half, reach + shift)


def unseen_share(chips: int, confidence: float) -> float:
    """The share of all chips that may be unlike every one of those drawn.

    If a share u is, n chips show none with the odds (1 - u)^n; at u = 1 - ((1 - confidence) / 2)^(1 / n) these are half
    of what the confidence leaves. For 95% it is about 3.7 / n.

    Examples:
        >>> f"{unseen_share(64, 0.95):.3f}"
        '0.056'
    """
    return 1 - ((1 - confidence) / 2) ** (1 / chips)


def bounds_of(higher_is_better: bool, *values: NDArray[np.float64]) -> tuple[float, float]:
    """The smallest and the largest value that a metric can have on a chip, judging by what it had.

    Where more is better and all values lie from 0 to 1, it is taken for a rate, such as an accuracy. Of any other, such
    as a loss, no bound is known.
    """
    numbers = np.concatenate([np.ravel(array) for array in values])
    numbers = numbers[np.isfinite(numbers)]
    is_rate = higher_is_better and bool(((numbers >= 0) & (numbers <= 1)).all())
    return (0.0, 1.0) if is_rate else (-np.inf, np.inf)


@lru_cache(maxsize=1024)  # the table of a report asks for the same few, a thousand times
def _student_t(q: float, degrees: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(q, degrees))


def quantile_interval(
    values: NDArray[np.float64], q: float, confidence: float, paired: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The order statistics that enclose the quantile `q` with at least that confidence, row by row.

    How many of n independent chips lie below the quantile is binomial. So the chips of rank l and u, counted from the
    worst, enclose it if at most (1 - confidence) / 2 of that distribution lies below l, and at most so much from u on.

    With `paired`, chips are antithetic, and neighbours need not be independent: of a metric that depends on the square
    of a deviation, both are below the quantile or neither is. Ranks of n / 2 independent chips, l and u, then become
    2 l - 1 and 2 u of all n: among all ways in which two chips of a pair can depend on one another, none was found
    where these cover less often than said.

    Args:
        values: shape (rows, chips), failed chips as infinities.
        q: a number between 0 and 1.
        confidence: the confidence of the interval.
        paired: columns 2k and 2k + 1 are a chip and its mirror image.

    Returns:
        Lower and upper ends, each of shape (rows,); infinite where there are too few chips.
    """
    from scipy.stats import binom

    chips, tail = values.shape[1], (1 - confidence) / 2
    independent = chips // 2 if paired else chips
    low, high = int(binom.ppf(tail, independent, q)), int(binom.ppf(1 - tail, independent, q)) + 1
    if paired:
        low, high = max(2 * low - 1, 0), 2 * high
    ends = np.full((len(values), 1), np.inf)
    ordered = np.concatenate([-ends, np.sort(values, axis=1), ends], axis=1)
    return ordered[:, low], ordered[:, min(high, chips + 1)]
