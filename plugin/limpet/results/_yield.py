"""Intervals: where the value for all chips lies, judging by those drawn. NumPy and SciPy only."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import MetricError


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


def mean_interval(values: NDArray[np.float64], confidence: float, method: str) -> tuple[float, float]:
    """The interval of a mean of independent values: Student's t, or the bootstrap's percentiles (fixed seed)."""
    if len(values) < 2:
        return -np.inf, np.inf
    if np.ptp(values) == 0:
        return values[0], values[0]
    if method == "bootstrap":
        from scipy import stats

        found = stats.bootstrap(
            (values,), np.mean, confidence_level=confidence, n_resamples=2000, method="percentile", rng=0
        )
        return found.confidence_interval.low, found.confidence_interval.high
    if method != "t":
        raise MetricError(f"method = {method!r}: allowed are 't' and 'bootstrap'")
    half = _student_t((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


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
