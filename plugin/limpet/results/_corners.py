"""A metric of the same virtual chips under several named conditions, and the yield under all. NumPy and SciPy only."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._checked import shown
from .._errors import MetricError
from ._axes import axes_for
from ._condition import Condition
from ._curve_plot import BAND, WORST
from ._npz_file import described_of, write_described
from ._robustness_curve import ARRAYS, RobustnessCurve
from ._yield import Yield, checked_confidence, yield_of

ALL = "all of them"
"""The name of the last row: a chip counts with the worst of its values."""


@dataclass(frozen=True, eq=False, repr=False)
class Corners:
    """A metric of the same virtual chips under several named conditions; prints as a table.

    A chip is good if it reaches the target under every condition. Because the chips are the same, that share is counted
    and not made of the yields: it lies between the smallest of them and, at worst, what is left when the shares that
    fail are added up.

    Attributes:
        names: the names of the conditions.
        curve: the values, shape (conditions, chips), and what they were measured on, as a curve over scales whose rows
            are the conditions. It has a target.

    Raises:
        MetricError: the names are none for these rows, or the curve has no target, no conditions, or antithetic chips.

    Examples:
        >>> import limpet
        >>> conditions = (limpet.Condition(), limpet.Condition(scale=2.0))
        >>> values = [[0.96, 0.95, 0.94, 0.95], [0.93, 0.88, 0.92, 0.91]]
        >>> curve = limpet.RobustnessCurve(
        ...     "accuracy", [1, 2], values, axis="scale", conditions=conditions, target=0.9
        ... )
        >>> print(Corners(("as described", "twice"), curve))
        accuracy on the same 4 virtual chips of seed 0 (higher is better), yield at 0.9
        condition         mean     worst  chip     yield  95% interval
        as described      0.95      0.94     2         1  0.3976 to 1
        twice             0.91      0.88     1      0.75  0.1941 to 0.9937
        all of them       0.91      0.88     1      0.75  0.1941 to 0.9937
    """

    names: tuple[str, ...]
    curve: RobustnessCurve

    def __post_init__(self) -> None:
        names = checked_names(self.names)
        if not isinstance(self.curve, RobustnessCurve):
            raise MetricError(f"curve = {shown(self.curve)}: allowed is a limpet.RobustnessCurve")
        if len(names) != len(self.curve.values):
            raise MetricError(f"{len(names)} names of conditions, where the curve has {len(self.curve.values)}")
        if self.curve.target is None:
            raise MetricError("the curve of corners has no target: curve.with_target(0.9)")
        if not self.curve.conditions:
            raise MetricError("the curve of corners does not say its conditions: measure by limpet.corners")
        if self.curve.antithetic:
            raise MetricError("antithetic chips have no numbers of their own: measure without antithetic=True")
        object.__setattr__(self, "names", names)

    @property
    def target(self) -> float:
        """The value that a chip is to reach under each condition."""
        assert self.curve.target is not None
        return self.curve.target

    @property
    def conditions(self) -> dict[str, Condition]:
        """The conditions by name."""
        return dict(zip(self.names, self.curve.conditions, strict=True))

    def at(self, name: str) -> RobustnessCurve:
        """The curve under one condition alone; its `corner("worst")` is the worst chip there.

        Raises:
            MetricError: there is no such condition; says which there are.
        """
        return self._rows(self._place(name))

    def worst_values(self) -> NDArray[np.float64]:
        """The metric of each chip under the condition that is worst for it, shape (chips,); NaN where one has none."""
        values = self.curve.values
        worst = values.min(axis=0) if self.curve.higher_is_better else values.max(axis=0)
        return np.where(np.isfinite(values).all(axis=0), worst, np.nan)

    def reaches(self) -> NDArray[np.bool_]:
        """Which chips reach the target, shape (conditions, chips); see `RobustnessCurve.passing`."""
        return self.curve.reaches(self.target)

    def yields(self, confidence: float = 0.95) -> dict[str, Yield]:
        """The fraction of chips that reach the target under each condition, with its Clopper-Pearson interval."""
        return dict(zip(self.names, self.curve.yield_at(self.target, confidence), strict=True))

    def joint_yield(self, confidence: float = 0.95) -> Yield:
        """The fraction of chips that reach the target under every condition, with its Clopper-Pearson interval.

        A chip counts once, so that it is a plain binomial share, however much the conditions have in common.

        Raises:
            MetricError: `confidence` is no number between 0 and 1.
        """
        good = int(self.reaches().all(axis=0).sum())
        return yield_of(good, self.curve.chips, checked_confidence(confidence), "exact")

    def with_target(self, target: float) -> Self:
        """The same values, judged by another target."""
        return type(self)(self.names, self.curve.with_target(target))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python values; `Corners.from_dict` takes it back."""
        return {"names": list(self.names), **self.curve.to_dict()}

    @classmethod
    def from_dict(cls, described: Any) -> Self:
        """The result that `to_dict` described.

        Raises:
            MetricError: it is none.
        """
        if not isinstance(described, dict) or not isinstance(described.get("names"), list | tuple):
            raise MetricError("its description names no conditions")
        rest = {name: value for name, value in described.items() if name != "names"}
        return cls(tuple(described["names"]), RobustnessCurve.from_dict(rest))

    def save(self, path: str | Path) -> None:
        """Write all of it as .npz (no pickle). A file that is there is replaced once the new one is whole."""
        write_described(path, self.to_dict(), ARRAYS)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MetricError: the file is missing, damaged, or holds no corners.
        """
        try:
            return cls.from_dict(described_of(path))
        except (ValueError, TypeError, RecursionError) as error:
            raise MetricError(f"{path}: holds no corners ({error})") from None

    def plot(self, ax: Any = None) -> Any:
        """Draw, for each condition and for all, mean (dot), 5th to 95th percentile (bar) and worst chip (triangle), the
        yield beside its name, and the target as a line; returns the axes.

        Args:
            ax: matplotlib axes to draw on; None for pyplot's current ones where nothing is drawn yet, else for a new
                figure.
        """
        ax = axes_for(ax, (5, 1.4 + 0.45 * (len(self.names) + 1)))
        shares = [*self.yields().values(), self.joint_yield()]
        rows = [*map(self.at, self.names), self._together]
        for place, curve in enumerate(rows):
            color = "C1" if curve is rows[-1] else "C0"
            low, high = (float(curve.quantile(q)[0]) for q in (0.05, 0.95))
            if np.isfinite([low, high]).all():  # where chips failed, there is no edge to draw
                ax.plot([low, high], [place, place], color=color, alpha=0.35, linewidth=6, solid_capstyle="butt")
            ax.plot(curve.mean(), [place], "o", color=color, markersize=5)
            ax.plot(curve.worst(), [place], "<" if curve.higher_is_better else ">", color=color, markersize=5)
        ax.axvline(self.target, color="grey", linestyle="--", linewidth=1)
        labels = [f"{name}\nyield {found.fraction:.4g}" for name, found in zip((*self.names, ALL), shares, strict=True)]
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.set_xlabel(self.curve.metric)
        ax.set_title(f"{self.curve.chips} virtual chips, target {self.target:g}", fontsize="medium")
        ax.grid(alpha=0.3, axis="x")
        _show_legend(ax, "<" if self.curve.higher_is_better else ">")
        return ax

    @property
    def _together(self) -> RobustnessCurve:
        """The chips, each under the condition that is worst for it."""
        kept = self._rows(0).to_dict() | {"values": self.worst_values()[None], "conditions": []}
        return RobustnessCurve.from_dict(kept)

    def _rows(self, place: int) -> RobustnessCurve:
        curve, kept = self.curve, slice(place, place + 1)
        return replace(
            curve, sigmas=curve.sigmas[kept], values=curve.values[kept], conditions=tuple(curve.conditions[kept])
        )

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise MetricError(f"there is no condition {shown(name)}; there are {', '.join(self.names)}")
        return self.names.index(name)

    def __str__(self) -> str:
        curve = self.curve
        excluded = f", without {', '.join(map(str, curve.excluded_chips))}" if curve.excluded_chips else ""
        better = "higher" if curve.higher_is_better else "lower"
        head = ["condition", "mean", "worst", "chip", "yield", "95% interval"]
        failed = bool(curve.failed.any())
        table = [[*head, "no number"] if failed else head]
        rows = {**{name: self.at(name) for name in self.names}, ALL: self._together}
        for (name, row), found in zip(rows.items(), [*self.yields().values(), self.joint_yield()], strict=True):
            cells = [name, f"{row.mean()[0]:.4g}", f"{row.worst()[0]:.4g}", str(row.worst_chip(row.sigmas[0]))]
            cells += [f"{found.fraction:.4g}", f"{found.low:.4g} to {found.high:.4g}"]
            table.append([*cells, str(row.failed[0])] if failed else cells)
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        floors = [0, 8, 8, 0, 8, 0, 0]
        lines = [
            f"{curve.metric} on the same {curve.chips} virtual chips of seed {curve.seed}{excluded} ({better} is "
            f"better), yield at {self.target:g}"
        ]
        for row in table:
            cells = [
                f"{cell:{'<' if column in (0, 5) else '>'}{max(width, floor)}}"
                for column, (cell, width, floor) in enumerate(zip(row, widths, floors, strict=False))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Corners({self.curve.metric!r}, {', '.join(self.names)}, {self.curve.chips} chips)"


def _show_legend(ax: Any, marker: str) -> None:
    """What dots, bars and triangles are, in grey, below the axis."""
    from matplotlib.lines import Line2D
    from matplotlib.transforms import ScaledTranslation

    below = ScaledTranslation(0, -0.45, ax.get_figure(root=True).dpi_scale_trans)  # in inches: past the axis' title
    bar = Line2D([], [], color="grey", alpha=0.5, linewidth=6, label=BAND)
    marks = [Line2D([], [], color="grey", linestyle="", marker=one, markersize=5) for one in ("o", marker)]
    ax.legend(
        [marks[0], bar, marks[1]],
        ["mean", BAND, WORST],
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=ax.transAxes + below,
        ncols=3,
        frameon=False,
        fontsize="small",
    )


def checked_names(names: Iterable[Any]) -> tuple[str, ...]:
    """The names of conditions.

    Raises:
        MetricError: there is none, two are the same, or one is no text, is empty, or is that of the last row.
    """
    names = tuple(names)
    if not names:
        raise MetricError("conditions: there is none; give a name and a limpet.Condition for each")
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or name == ALL:
            raise MetricError(f"conditions: {shown(name)} is no name; allowed is a text in one line, but '{ALL}'")
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise MetricError(f"conditions: {', '.join(repeated)} stands there twice; give each a name of its own")
    return names
