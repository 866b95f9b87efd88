"""The robustness curve: a metric over sigma, with its spread over virtual chips. NumPy and SciPy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import MetricError


@dataclass(frozen=True)
class Yield:
    """The fraction of chips that meet a target.

    Attributes:
        fraction: of the chips drawn.
        low: lower end of the Clopper-Pearson interval for the fraction of all chips.
        high: its upper end.
        confidence: of that interval, 0.95 for 95%.
    """

    fraction: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, eq=False)
class RobustnessCurve:
    """A metric over sigma, for each of the same virtual chips.

    A chip whose metric is NaN or infinite has failed: it is left out of `mean` and `std`, counted in `failed`, and
    counts as worse than every other in `quantile`, `worst` and `yield_at`.

    Attributes:
        metric: name of the metric.
        sigmas: relative standard deviations, shape (strengths,).
        values: the metric of each chip, shape (strengths, chips); chip c is the same chip in every row.
        seed: of the chips; `limpet.freeze(..., seed=seed, chip=c)` rebuilds chip c.
        higher_is_better: True for an accuracy, False for a loss.

    Raises:
        MetricError: the shapes do not fit, or there is no chip.

    Example:
        >>> curve = RobustnessCurve("accuracy", [0.0, 0.1], [[0.9, 0.9, 0.9, 0.9], [0.9, 0.8, 0.7, 0.6]])
        >>> curve.mean().round(3).tolist(), curve.worst().tolist(), curve.quantile(0.5).round(3).tolist()
        ([0.9, 0.75], [0.9, 0.6], [0.9, 0.75])
        >>> curve.yield_at(0.7)[1].fraction
        0.75
    """

    metric: str
    sigmas: NDArray[np.float64]
    values: NDArray[np.float64]
    seed: int = 0
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        sigmas, values = np.asarray(self.sigmas, np.float64), np.asarray(self.values, np.float64)
        if sigmas.ndim != 1 or values.ndim != 2 or len(values) != len(sigmas) or not values.size:
            raise MetricError(
                f"curve of '{self.metric}': sigmas of shape (strengths,) and values of shape (strengths, chips), "
                f"neither empty, are needed; got {sigmas.shape} and {values.shape}"
            )
        object.__setattr__(self, "sigmas", sigmas)
        object.__setattr__(self, "values", values)

    @property
    def chips(self) -> int:
        """Number of virtual chips."""
        return self.values.shape[1]

    @property
    def failed(self) -> NDArray[np.int64]:
        """Number of chips at each sigma whose metric is NaN or infinite, shape (strengths,)."""
        return (~np.isfinite(self.values)).sum(axis=1)

    def mean(self) -> NDArray[np.float64]:
        """Mean over the chips that did not fail, shape (strengths,); NaN where all failed."""
        return self._over_finite(np.mean)

    def std(self) -> NDArray[np.float64]:
        """Standard deviation over the chips that did not fail, shape (strengths,); NaN where all failed."""
        return self._over_finite(np.std)

    def quantile(self, q: float) -> NDArray[np.float64]:
        """The quantile `q` (0 to 1) of the metric over chips, shape (strengths,), failed chips counted as worst."""
        # 'inverted_cdf' between a number and an infinity stays one of the two; interpolation would give NaN.
        method = "linear" if not self.failed.any() else "inverted_cdf"
        return np.quantile(self._ranked(), q, axis=1, method=method)

    def worst(self) -> NDArray[np.float64]:
        """The metric of the worst chip at each sigma, shape (strengths,); infinite where a chip failed."""
        return self._ranked().min(axis=1) if self.higher_is_better else self._ranked().max(axis=1)

    def yield_at(self, target: float, confidence: float = 0.95) -> list[Yield]:
        """The fraction of chips that reach `target` at each sigma, with its Clopper-Pearson interval.

        Args:
            target: a chip passes at this value or better.
            confidence: of the interval.
        """
        from scipy.stats import binomtest

        passed = self._ranked() >= target if self.higher_is_better else self._ranked() <= target
        results = []
        for count in passed.sum(axis=1):
            interval = binomtest(int(count), self.chips).proportion_ci(confidence, method="exact")
            results.append(Yield(int(count) / self.chips, float(interval.low), float(interval.high), confidence))
        return results

    def plot(self, ax: Any = None, label: str | None = None) -> Any:
        """Draw mean (line), 5th to 95th percentile (band) and worst chip (dotted) with matplotlib; returns the axes.

        Args:
            ax: matplotlib axes to draw on, so that several networks share one picture; new ones if None.
            label: name in the legend; "mean" if None.
        """
        from matplotlib.figure import Figure

        ax = ax if ax is not None else Figure(figsize=(6, 4), dpi=120, layout="constrained").add_subplot()
        order = np.argsort(self.sigmas)
        sigmas = self.sigmas[order]
        (line,) = ax.plot(sigmas, self.mean()[order], marker="o", markersize=4, label=label or "mean")
        low, high = self.quantile(0.05)[order], self.quantile(0.95)[order]
        ax.fill_between(sigmas, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
        worst = self.worst()[order]
        ax.plot(sigmas, np.where(np.isfinite(worst), worst, np.nan), ":", color=line.get_color())
        ax.set_xlabel("mismatch sigma (relative standard deviation)")
        ax.set_ylabel(self.metric)
        ax.set_title(f"{self.chips} virtual chips; band: 5th to 95th percentile; dotted: worst chip", fontsize="medium")
        ax.grid(alpha=0.3)
        ax.legend(frameon=False, loc="lower left" if self.higher_is_better else "upper left")
        return ax

    def _ranked(self) -> NDArray[np.float64]:
        """The values, with failed chips at the bad end."""
        return np.where(np.isfinite(self.values), self.values, -np.inf if self.higher_is_better else np.inf)

    def _over_finite(self, statistic: Any) -> NDArray[np.float64]:
        finite = [row[np.isfinite(row)] for row in self.values]
        return np.array([statistic(row) if row.size else np.nan for row in finite])
