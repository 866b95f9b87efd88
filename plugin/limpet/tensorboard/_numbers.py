"""The numbers that the Robustness tab and the report show, as plain values for JSON; nothing is computed twice.

Numbers that are not finite (a chip that failed, no chip left) become None.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import MetricError
from ..results._comparison import compare
from ..results._robustness_curve import RobustnessCurve
from ..results._sensitivity import Sensitivity
from ..results._yield import Yield

TARGETS = 300
"""At most so many targets in a chart of the yield."""


def plain(values: NDArray[Any] | float) -> Any:
    """A number or an array as Python values, None for what is not finite."""
    found = np.asarray(values, np.float64)
    objects = found.astype(object)
    objects[~np.isfinite(found)] = None
    return objects.tolist()


def overview(last_step: int, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the metadata of a run's curves say, before any values are read."""
    curve = content["curve"]
    return {
        "last_step": last_step,
        "sigmas": sorted(curve.get("sigmas", [])),
        "axis": curve.get("axis", "sigma"),
        "higher_is_better": curve.get("higher_is_better", True),
        "target": content.get("target"),
    }


def evaluations(curves: Mapping[int, RobustnessCurve]) -> dict[str, Any]:
    """A run's curves over training, each statistic of shape (evaluations, strengths), strengths in rising order.

    Args:
        curves: by training step, not empty.
    """
    newest = curves[max(curves)]
    order = np.argsort(newest.sigmas, kind="stable")
    steps = sorted(curves)

    def over_steps(statistic: Any) -> Any:
        return plain(np.array([statistic(curves[step])[order] for step in steps], np.float64))

    return {
        "steps": steps,
        "sigmas": newest.sigmas[order].tolist(),
        "axis": newest.axis,
        "chips": newest.chips,
        "higher_is_better": newest.higher_is_better,
        "mean": over_steps(RobustnessCurve.mean),
        "p5": over_steps(lambda curve: curve.quantile(0.05)),
        "p95": over_steps(lambda curve: curve.quantile(0.95)),
        "worst": over_steps(RobustnessCurve.worst),
        "failed": [curves[step].failed[order].tolist() for step in steps],
        "range": _finite_range(curves),
    }


def chips(curve: RobustnessCurve) -> dict[str, Any]:
    """The metric of each chip, shape (chips, strengths), strengths in rising order."""
    order = np.argsort(curve.sigmas, kind="stable")
    return {"sigmas": curve.sigmas[order].tolist(), "values": plain(curve.values[order].T)}


def table_row(curve: RobustnessCurve, sigma: float, target: float | None) -> dict[str, Any]:
    """What the table of runs says of a curve at a sigma.

    Args:
        curve: the curve.
        sigma: one of its strengths; at another, only the nominal value is given.
        target: of the yield; None for no yield.
    """
    row: dict[str, Any] = {"chips": curve.chips, "nominal": None, "mean": None}
    (unperturbed,) = np.nonzero(curve.sigmas == 0)
    if unperturbed.size:
        row["nominal"] = plain(curve.mean()[unperturbed[0]])
    here = at_sigma(curve, sigma)
    if here is None:
        return row
    row |= {
        "mean": plain(here.mean()[0]),
        "p5": plain(here.quantile(0.05)[0]),
        "worst": plain(here.worst()[0]),
        "failed": int(here.failed[0]),
    }
    if target is not None:
        row["yield"] = _yield(here.yield_at(target)[0])
    return row


def yield_over_target(curve: RobustnessCurve, sigma: float, low: float, high: float) -> dict[str, Any] | None:
    """The yield at one sigma over a range of targets; None where the curve has no such sigma."""
    here = at_sigma(curve, sigma)
    if here is None:
        return None
    # The yield changes where a chip lies; with more chips than points, an even grid is as good.
    steps = np.unique(here.values[np.isfinite(here.values) & (low < here.values) & (here.values < high)])
    inner = steps if len(steps) <= TARGETS else np.linspace(low, high, TARGETS)[1:-1]
    targets = np.concatenate([[low], inner, [high]])
    found = [here.yield_at(target)[0] for target in targets]
    return {
        "targets": targets.tolist(),
        "fraction": [one.fraction for one in found],
        "low": [one.low for one in found],
        "high": [one.high for one in found],
    }


def difference(first: RobustnessCurve, second: RobustnessCurve) -> dict[str, Any]:
    """The paired difference of two runs, second minus first, or why there is none."""
    try:
        found = compare(first, second)
    except MetricError as error:
        return {"error": str(error)}
    order = np.argsort(found.sigmas, kind="stable")
    return {
        "sigmas": found.sigmas[order].tolist(),
        "difference": plain(found.difference[order]),
        "low": plain(found.low[order]),
        "high": plain(found.high[order]),
        "worse": [_yield(found.worse[place]) for place in order],
        "chips": min(first.chips, second.chips),
        "confidence": found.confidence,
        "higher_is_better": first.higher_is_better,
    }


def leaf_costs(found: Sensitivity) -> dict[str, Any]:
    """What each group of leaves costs, the costliest first."""
    failed = dict(zip(found.groups, found.failed.tolist(), strict=True))
    rows = [
        {"group": group, "cost": plain(cost), "saved": plain(saved), "failed": failed[group]}
        for group, cost, saved, _ in found.ranking()
    ]
    return {"rows": rows, "nominal": plain(found.nominal), "chips": len(found.everything)}


def at_sigma(curve: RobustnessCurve, sigma: float) -> RobustnessCurve | None:
    """The curve at one of its strengths alone; None where it has no such strength."""
    (rows,) = np.nonzero(np.isclose(curve.sigmas, sigma, rtol=1e-6, atol=1e-12))
    if not rows.size:
        return None
    return replace(curve, sigmas=curve.sigmas[rows[:1]], values=curve.values[rows[:1]])


def _yield(found: Yield) -> dict[str, float]:
    return {"fraction": found.fraction, "low": found.low, "high": found.high, "confidence": found.confidence}


def _finite_range(curves: Mapping[int, RobustnessCurve]) -> list[float] | None:
    """Smallest and largest metric of all chips at all steps, so that axes stand still while the curve moves."""
    finite = [curve.values[np.isfinite(curve.values)] for curve in curves.values()]
    ends = [(values.min(), values.max()) for values in finite if values.size]
    return [float(min(low for low, _ in ends)), float(max(high for _, high in ends))] if ends else None
