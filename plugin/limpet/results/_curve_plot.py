"""The picture of a robustness curve."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ._axes import axes_for
from ._duration import words

if TYPE_CHECKING:
    from ._robustness_curve import RobustnessCurve

AXIS_TITLES: dict[str, str] = {
    "sigma": "relative standard deviation (sigma)",
    "scale": "scale on each leaf's sigma",
    "time": "time since programming",
}
BAND, WORST = "5th to 95th percentile", "worst chip"
CHARACTER = 0.075
"""About as many inches a character of a tick's label takes, with the space beside it."""


def plotted(curve: "RobustnessCurve", ax: Any, label: str | None) -> Any:
    """Draw a curve with matplotlib; see `RobustnessCurve.plot`."""
    ax = axes_for(ax, (5, 3.4))
    order = np.argsort(curve.sigmas)
    sigmas = curve.sigmas[order]
    (line,) = ax.plot(sigmas, curve.mean()[order], marker="o", markersize=4, label=label or "mean")
    low, high, worst = (
        np.where(np.isfinite(found), found, np.nan)[order]  # where chips failed, there is no edge to draw
        for found in (curve.quantile(0.05), curve.quantile(0.95), curve.worst())
    )
    ax.fill_between(sigmas, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    ax.plot(sigmas, worst, ":", color=line.get_color())
    ax.set_xlabel(AXIS_TITLES[curve.axis])
    if curve.axis == "time":
        _show_times(ax)
    ax.set_ylabel(curve.metric)
    ax.set_title(f"{curve.chips} virtual chips", fontsize="medium")
    ax.grid(alpha=0.3)
    _show_legend(ax)
    return ax


def _show_legend(ax: Any) -> None:
    """Names of the lines, then once what band and dots are, in grey where there are several curves."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    lines = ax.get_legend_handles_labels()[0]
    color = lines[0].get_color() if len(lines) == 1 else "grey"
    explained = [
        Patch(color=color, alpha=0.18, linewidth=0, label=BAND),
        Line2D([], [], color=color, linestyle=":", label=WORST),
    ]
    ax.legend(handles=[*lines, *explained], frameon=False, loc="best", fontsize="small")


def _show_times(ax: Any) -> None:
    """The times that were measured in words, on a logarithmic axis: the first, the last, and those that have room."""
    ax.set_xscale("log")
    times = sorted({float(time) for line in ax.get_lines() for time in line.get_xdata()})
    width = ax.get_position().width * ax.get_figure(root=True).get_figwidth()
    places = np.interp(np.log(times), np.log([times[0], times[-1]]), [0.05 * width, 0.95 * width])
    reach = [CHARACTER * len(words(time)) / 2 for time in times]
    shown = [0]
    for index in range(1, len(times)):
        is_last = index == len(times) - 1
        while is_last and len(shown) > 1 and places[shown[-1]] + reach[shown[-1]] > places[index] - reach[index]:
            shown.pop()
        if is_last or places[shown[-1]] + reach[shown[-1]] <= places[index] - reach[index]:
            shown.append(index)
    ax.set_xticks([times[index] for index in shown], [words(times[index]) for index in shown])
    ax.minorticks_off()
