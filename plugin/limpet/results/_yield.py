"""Intervals: where the value for all chips lies, judging by those drawn. NumPy and SciPy only."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import MetricError


@dataclass(frozen=True)
class Yield:
    """The fraction of chips that meet a target.

    Attributes:
        fraction: of the chips drawn.
        low: lower end of the interval for the fraction of all chips.
        high: its upper end.
        confidence: of that interval, 0.95 for 95%.
    """

    fraction: float
    low: float
    high: float
    confidence: float


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


def quantile_interval(values: NDArray[np.float64], q: float, confidence: float) -> tuple[float, float]:
    """The order statistics l and u with P(l <= number below the quantile < u) >= confidence (binomial)."""
    from scipy.stats import binom

    count, tail = len(values), (1 - confidence) / 2
    ordered = np.concatenate([[-np.inf], np.sort(values), [np.inf]])
    low = int(binom.ppf(tail, count, q))
    high = int(binom.ppf(1 - tail, count, q)) + 1
    return ordered[low], ordered[min(high, count + 1)]
