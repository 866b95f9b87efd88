"""What each group of leaves costs a metric, as `limpet.sensitivity` measured it. NumPy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._axes import axes_for
from ._yield import SIX_DIGITS, bounds_of, checked_confidence, independent, mean_interval


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What each group of leaves costs; prints as a ranked table.

    Attributes:
        groups: the names of the groups.
        nominal: the metric without mismatch.
        everything: the metric of each chip with all groups deviating, shape (chips,).
        alone: the metric with one group deviating at a time, shape (groups, chips).
        without: the metric with all groups but one deviating, shape (groups, chips).
        first_order: standard deviation over chips of the first-order change, gradient times deviation, of the
            differentiable function asked for, shape (groups,).
        higher_is_better: True for an accuracy, False for a loss.
        antithetic: whether chips 2k and 2k + 1 are a chip and its mirror image, which count once in intervals.
    """

    groups: tuple[str, ...]
    nominal: float
    everything: NDArray[np.float64]
    alone: NDArray[np.float64]
    without: NDArray[np.float64]
    first_order: NDArray[np.float64]
    higher_is_better: bool
    antithetic: bool = False

    def __post_init__(self) -> None:
        # Copies, so that they stay what they are when an array that was handed over is filled anew.
        for name in ("everything", "alone", "without", "first_order"):
            object.__setattr__(self, name, np.array(getattr(self, name), np.float64))

    @property
    def failed(self) -> NDArray[np.int64]:
        """Number of chips whose metric is NaN or infinite if a group alone deviates, shape (groups,)."""
        return (~np.isfinite(self.alone)).sum(axis=1)

    def cost(self) -> NDArray[np.float64]:
        """How much worse the metric gets if a group alone deviates, shape (groups,).

        The mean over the chips that do not fail (see `failed`); infinite where all do.
        """
        return _mean_of_finite(self._costs(), otherwise=np.inf)

    def saved(self) -> NDArray[np.float64]:
        """How much better it gets if, of everything, only that group did not deviate, shape (groups,).

        The mean over the chips that fail in neither case; NaN where there are none.
        """
        return _mean_of_finite(self._savings(), otherwise=np.nan)

    def cost_interval(self, confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the cost on all chips lies, judging by those drawn: lower and upper ends, each of shape (groups,).

        It is the interval of a mean, see `limpet.RobustnessCurve.interval`.
        """
        low, high = self._bounds()
        ends = (self.nominal - high, self.nominal - low) if self.higher_is_better else (low, high)
        return self._interval(self._costs(), ends, confidence)

    def saved_interval(self, confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where what is saved on all chips lies; see `cost_interval`."""
        low, high = self._bounds()
        return self._interval(self._savings(), (low - high, high - low), confidence)

    def ranking(self) -> list[tuple[str, float, float, float]]:
        """Rows of (group, cost, saved, first order): most failed chips first, then the costliest, then what saves."""
        columns = (self.cost().tolist(), self.saved().tolist(), self.first_order.tolist())
        return [(self.groups[place], *(column[place] for column in columns)) for place in self._order()]

    def plot(self, ax: Any = None) -> Any:
        """Draw cost and saving of each group as bars with matplotlib, the costliest on top; returns the axes.

        Lines through the ends of bars are their 95% intervals.

        Args:
            ax: matplotlib axes to draw on; None as of `limpet.RobustnessCurve.plot`.
        """
        from matplotlib import rcParams

        line = {"linewidth": 1, "ecolor": rcParams["text.color"]}  # dark on light, and light on dark
        ax = axes_for(ax, (5, 1.2 + 0.28 * len(self.groups)))
        order = self._order()[::-1]
        places = np.arange(len(order))
        shown = (
            (0.2, "cost if it alone deviates", self._costs(), self.cost(), self.cost_interval()),
            (-0.2, "saved if all but it deviate", self._savings(), self.saved(), self.saved_interval()),
        )
        for offset, label, chips, values, ends in shown:
            middle = np.nan_to_num(values[order], posinf=0.0)
            # Where no chip differs from another, the interval says what unseen chips could be: it would hide the rest.
            differs = np.array([row.size > 0 and bool(np.ptp(row) > 0) for row in independent(chips, False)])
            reach = [np.where(differs[order], np.abs(end[order] - middle), 0.0) for end in ends]
            reach = np.where(np.isfinite(reach), reach, 0.0)
            ax.barh(places + offset, middle, height=0.4, label=label, xerr=reach.tolist(), error_kw=line)
        ax.set_yticks(places, [self.groups[place] for place in order])
        ax.set_xlabel("change of the metric")
        ax.grid(alpha=0.3, axis="x")
        ax.locator_params(axis="x", nbins=4)
        ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), fontsize="small")  # above, not on the bars
        return ax

    def __str__(self) -> str:
        width = max(len("group"), *map(len, self.groups))
        columns = [self._column(self.cost(), self.cost_interval()), self._column(self.saved(), self.saved_interval())]
        widths = [max(len(name), *map(len, cells)) for name, cells in zip(("cost", "saved"), columns, strict=True)]
        head = f"{'cost':>{widths[0]}}  {'saved':>{widths[1]}}"
        lines = [f"{'group':{width}}  {head}  first order  no number"]
        lines += [
            f"{self.groups[place]:{width}}  {columns[0][place]:>{widths[0]}}  {columns[1][place]:>{widths[1]}}  "
            f"{self.first_order[place]:11.4g}  {self.failed[place]:9d}"
            for place in self._order()
        ]
        return "\n".join(lines)

    def _order(self) -> NDArray[np.int64]:
        """The places of the groups: most failed chips first, then the costliest, then what saves most."""
        return np.lexsort((-np.nan_to_num(self.saved()), -self.cost(), -self.failed))

    def _costs(self) -> NDArray[np.float64]:
        return self._sign() * (self.nominal - self.alone)

    def _savings(self) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):  # chips that failed in both cases
            return self._sign() * (self.without - self.everything)

    def _bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that the metric can have on a chip."""
        return bounds_of(self.higher_is_better, self.everything, self.alone, self.without, np.array([self.nominal]))

    def _interval(
        self, values: NDArray[np.float64], bounds: tuple[float, float], confidence: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        measured = np.concatenate([np.ravel(self.everything), np.ravel(self.alone), np.ravel(self.without)])
        rounding = SIX_DIGITS * np.abs(measured[np.isfinite(measured)]).max(initial=abs(self.nominal))
        ends = [
            mean_interval(row, checked_confidence(confidence), "t", bounds, rounding)
            for row in independent(values, self.antithetic)
        ]
        low, high = np.array(ends, np.float64).T
        return low, high

    def _column(self, values: NDArray[np.float64], ends: tuple[NDArray[np.float64], NDArray[np.float64]]) -> list[str]:
        """Each value with its interval, where one is known."""
        return [
            f"{value:.4g}" + (f" ({low:.3g} to {high:.3g})" if np.isfinite([low, high]).all() else "")
            for value, low, high in zip(values, *ends, strict=True)
        ]

    def _sign(self) -> int:
        return 1 if self.higher_is_better else -1


def _mean_of_finite(values: NDArray[np.float64], otherwise: float) -> NDArray[np.float64]:
    finite = [row[np.isfinite(row)] for row in values]
    return np.array([row.mean() if row.size else otherwise for row in finite])
