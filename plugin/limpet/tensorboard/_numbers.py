"""The numbers that the Robustness tab and the report show, as plain values for JSON; nothing is computed twice.

Numbers that are not finite (a chip that failed, no chip left) become None.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limpet import MetricError, RobustnessCurve, Sensitivity, compare
from limpet.results import BeyondLimits, are_same_chips, common_chips, excluded_words, hardware_names, yield_of

TARGETS = 300
"""The largest number of targets in a chart of the yield."""
CONFIDENCE = 0.95
"""The confidence of all intervals that the tab and the report show."""


def plain(values: NDArray[Any] | float) -> Any:
    """A number or an array as Python values, None for what is not finite."""
    numbers = np.asarray(values, np.float64)
    objects = numbers.astype(object)
    objects[~np.isfinite(numbers)] = None
    return objects.tolist()


def overview(last_step: int, curve: RobustnessCurve, target: float | None) -> dict[str, Any]:
    """What is known of a run's curves before any values are read.

    Args:
        last_step: the training step of the newest evaluation.
        curve: the newest curve, whose values are not looked at.
        target: the target at which its yield was logged; None where none was.
    """
    return {
        "last_step": last_step,
        "sigmas": sorted(curve.sigmas.tolist()),
        "target": target,
        "excluded": excluded_words(curve.excluded_chips),
        **{name: getattr(curve, name) for name in ("axis", "higher_is_better", "fingerprint", "hardware")},
    }


def names_of_hardware(runs: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, str]:
    """A short name for each hardware that runs were measured on, by fingerprint.

    Args:
        runs: what `overview` gave, by run and metric.
    """
    overviews = [told for metrics in runs.values() for told in metrics.values()]
    return hardware_names({told["fingerprint"]: told["hardware"] for told in overviews})


def evaluations(curves: Mapping[int, RobustnessCurve]) -> dict[str, Any]:
    """A run's curves over training, each statistic of shape (evaluations, strengths), strengths in rising order.

    Evaluations at other strengths than those of the newest one, or of another direction, are left out, because a chart
    has one axis, and one end of it is the better one.

    Args:
        curves: the curves by training step, not empty.
    """
    newest = curves[max(curves)]
    curves = {
        step: curve
        for step, curve in curves.items()
        if np.array_equal(curve.sigmas, newest.sigmas)
        and (curve.axis, curve.higher_is_better) == (newest.axis, newest.higher_is_better)
    }
    order = np.argsort(newest.sigmas, kind="stable")
    steps = sorted(curves)

    def over_steps(statistic: Any) -> Any:
        return plain(np.array([statistic(curves[step])[order] for step in steps], np.float64))

    return {
        "steps": steps,
        "sigmas": newest.sigmas[order].tolist(),
        "axis": newest.axis,
        "chips": newest.chips,
        "same_chips": all(_draws_of(curve) == _draws_of(newest) for curve in curves.values()),
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
        curve: the curve from which the row's numbers are taken.
        sigma: one of its strengths; at another, only the nominal value is given.
        target: the target of the yield; None for no yield.
    """
    row: dict[str, Any] = {"chips": curve.chips, "nominal": None, "mean": None}
    if (unperturbed := measured_at(curve, 0.0)) is not None:
        row["nominal"] = plain(unperturbed.mean()[0])
    if (curve_at_sigma := measured_at(curve, sigma)) is None:
        return row
    row |= {
        "mean": plain(curve_at_sigma.mean()[0]),
        "p5": plain(curve_at_sigma.quantile(0.05)[0]),
        "worst": plain(curve_at_sigma.worst()[0]),
        "failed": int(curve_at_sigma.failed[0]),
    }
    if target is not None:
        row["yield"] = asdict(curve_at_sigma.yield_at(target)[0])
    return row


def yield_over_target(curve: RobustnessCurve, sigma: float, low: float, high: float) -> dict[str, Any] | None:
    """The yield at one sigma over a range of targets; None where the curve has no such sigma."""
    if (curve_at_sigma := measured_at(curve, sigma)) is None:
        return None
    targets = targets_of(curve_at_sigma, low, high)
    counts = curve_at_sigma.passing(targets)[0].tolist()
    yields = [yield_of(count, curve.chips, CONFIDENCE, "exact", curve.antithetic) for count in counts]
    return {
        "targets": targets.tolist(),
        **{name: [getattr(reached, name) for reached in yields] for name in ("fraction", "low", "high")},
    }


def targets_of(curve_at_sigma: RobustnessCurve, low: float, high: float) -> NDArray[np.float64]:
    """The targets at which a chart of the yield has points.

    The yield changes where a chip lies; with more chips than points, an even grid is as good.
    """
    values = curve_at_sigma.values
    steps = np.unique(values[np.isfinite(values) & (low < values) & (values < high)])
    inner = steps if len(steps) <= TARGETS else np.linspace(low, high, TARGETS)[1:-1]
    return np.concatenate([[low], inner, [high]])


def difference(first: RobustnessCurve, second: RobustnessCurve) -> dict[str, Any]:
    """The paired difference of two runs, second minus first, or why there is none."""
    try:
        comparison = compare(first, second)
    except MetricError as error:
        return {"error": str(error)}
    order = np.argsort(comparison.sigmas, kind="stable")
    return {
        **{name: plain(getattr(comparison, name)[order]) for name in ("sigmas", "difference", "low", "high")},
        "worse": [asdict(comparison.worse[place]) for place in order],
        "chips": len(common_chips(first, second)),
        "same_chips": are_same_chips(first, second),
        "confidence": comparison.confidence,
        "higher_is_better": first.higher_is_better,
    }


def leaf_costs(costs: Sensitivity) -> dict[str, Any]:
    """What each group of leaves costs, the costliest first."""
    failed = dict(zip(costs.groups, costs.failed.tolist(), strict=True))
    rows = [
        {"group": group, "cost": plain(cost), "saved": plain(saved), "failed": failed[group]}
        for group, cost, saved, _ in costs.ranking()
    ]
    return {"rows": rows, "nominal": plain(costs.nominal), "chips": len(costs.everything)}


def beyond_limits(step: int, beyond: BeyondLimits) -> dict[str, Any]:
    """How many values were beyond their limits: for each leaf, the share of them and on how many chips, by strength."""
    order = np.argsort(beyond.sigmas, kind="stable")
    rows = [
        {
            "leaf": leaf,
            "limits": limits,
            "share": plain(beyond.share[order, place]),
            "chips": beyond.chips_beyond[order, place].astype(int).tolist(),
        }
        for place, (leaf, limits) in enumerate(zip(beyond.leaves, beyond.limits, strict=True))
    ]
    return {
        "step": step,
        "sigmas": beyond.sigmas[order].tolist(),
        "axis": beyond.axis,
        "chips": beyond.chips,
        "rows": rows,
    }


def measured_at(curve: RobustnessCurve, sigma: float) -> RobustnessCurve | None:
    """The curve at one of its strengths alone; None where that was not measured, which a table shows as a gap."""
    try:
        return curve.at(sigma)
    except MetricError:
        return None


def _draws_of(curve: RobustnessCurve) -> tuple[Any, ...]:
    """What names the virtual chips of a curve."""
    drawn = (curve.seed, curve.antithetic, curve.generator, curve.draws_version)
    return (curve.fingerprint, curve.chips, curve.excluded_chips, *drawn)


def _finite_range(curves: Mapping[int, RobustnessCurve]) -> list[float] | None:
    """Smallest and largest metric of all chips at all steps, so that axes stand still while the curve moves."""
    finite = [curve.values[np.isfinite(curve.values)] for curve in curves.values()]
    ends = [(values.min(), values.max()) for values in finite if values.size]
    return [float(min(low for low, _ in ends)), float(max(high for _, high in ends))] if ends else None
