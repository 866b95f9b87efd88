"""The picture of a robustness curve."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._robustness_curve import RobustnessCurve

AXIS_TITLES: dict[str, str] = {
    "sigma": "mismatch sigma (relative standard deviation)",
    "scale": "scale on each leaf's sigma",
    "time": "seconds since programming",
}


def plotted(curve: "RobustnessCurve", ax: Any, label: str | None) -> Any:
    """Draw a curve with matplotlib; see `RobustnessCurve.plot`."""
    from matplotlib.figure import Figure

    ax = ax if ax is not None else Figure(figsize=(6, 4), dpi=120, layout="constrained").add_subplot()
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
        ax.set_xscale("log")
    ax.set_ylabel(curve.metric)
    ax.set_title(f"{curve.chips} virtual chips; band: 5th to 95th percentile; dotted: worst chip", fontsize="medium")
    finite = curve.values[np.isfinite(curve.values)]
    if curve.higher_is_better and ((finite >= 0) & (finite <= 1)).all():
        ax.set_ylim(0, 1.03)  # a rate: on one scale in every picture, so that runs can be told apart at a glance
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="lower left" if curve.higher_is_better else "upper left")
    return ax
