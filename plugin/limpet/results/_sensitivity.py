"""What each group of leaves costs a metric, as `limpet.sensitivity` measured it. NumPy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    """

    groups: tuple[str, ...]
    nominal: float
    everything: NDArray[np.float64]
    alone: NDArray[np.float64]
    without: NDArray[np.float64]
    first_order: NDArray[np.float64]
    higher_is_better: bool

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
        return _mean_of_finite(self._sign() * (self.nominal - self.alone), otherwise=np.inf)

    def saved(self) -> NDArray[np.float64]:
        """How much better it gets if, of everything, only that group did not deviate, shape (groups,).

        The mean over the chips that fail in neither case; NaN where there are none.
        """
        return _mean_of_finite(self._sign() * (self.without - self.everything), otherwise=np.nan)

    def ranking(self) -> list[tuple[str, float, float, float]]:
        """Rows of (group, cost, saved, first order): most failed chips first, then the costliest, then what saves."""
        rows = zip(self.groups, self.cost().tolist(), self.saved().tolist(), self.first_order.tolist(), strict=True)
        failed = dict(zip(self.groups, self.failed.tolist(), strict=True))
        return sorted(rows, key=lambda row: (-failed[row[0]], -row[1], -np.nan_to_num(row[2])))

    def plot(self, ax: Any = None) -> Any:
        """Draw cost and saving of each group as bars with matplotlib, the costliest on top; returns the axes."""
        from matplotlib.figure import Figure

        rows = np.nan_to_num([row[1:3] for row in self.ranking()[::-1]], posinf=0.0)
        names = [row[0] for row in self.ranking()[::-1]]
        if ax is None:
            ax = Figure(figsize=(6, 1 + 0.28 * len(rows)), dpi=120, layout="constrained").add_subplot()
        places = np.arange(len(rows))
        ax.barh(places + 0.2, rows[:, 0], height=0.4, label="cost if it alone deviates")
        ax.barh(places - 0.2, rows[:, 1], height=0.4, label="saved if all but it deviate")
        ax.set_yticks(places, names)
        ax.set_xlabel("change of the metric")
        ax.grid(alpha=0.3, axis="x")
        ax.legend(frameon=False, loc="lower right")
        return ax

    def __str__(self) -> str:
        width = max(len("leaves"), *(len(group) for group in self.groups))
        failed = dict(zip(self.groups, self.failed.tolist(), strict=True))
        lines = [f"{'leaves':{width}}      cost     saved  first order  failed chips"]
        lines += [
            f"{group:{width}}  {cost:8.4g}  {saved:8.4g}  {first:11.4g}  {failed[group]:12d}"
            for group, cost, saved, first in self.ranking()
        ]
        return "\n".join(lines)

    def _sign(self) -> int:
        return 1 if self.higher_is_better else -1


def _mean_of_finite(values: NDArray[np.float64], otherwise: float) -> NDArray[np.float64]:
    finite = [row[np.isfinite(row)] for row in values]
    return np.array([row.mean() if row.size else otherwise for row in finite])
