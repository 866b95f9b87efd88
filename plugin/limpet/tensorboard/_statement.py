"""The result in plain sentences."""

from collections.abc import Iterator, Mapping

import numpy as np

from ..results._robustness_curve import RobustnessCurve
from ..results._yield import Yield
from ._numbers import at_sigma


def statement(curves: Mapping[str, RobustnessCurve], target: float | None, metric: str) -> Iterator[str]:
    """What the newest evaluations say of a metric: the best run and the others, at the strength that tells most.

    Args:
        curves: by run name, not empty.
        target: of the yield; None to speak of the mean.
        metric: name of the metric.
    """
    sigma = telling_sigma(curves, target)
    here = {run: found for run, curve in curves.items() if (found := at_sigma(curve, sigma)) is not None}
    any_curve = next(iter(curves.values()))
    sign = 1 if any_curve.higher_is_better else -1
    strength = f"{'sigma' if any_curve.axis == 'sigma' else 'scale'} {sigma:g}"
    if target is None:
        means = {run: float(curve.mean()[0]) for run, curve in here.items()}
        best, *others = sorted(means, key=lambda run: -sign * np.nan_to_num(means[run], nan=-sign * np.inf))
        low, high = (float(end[0]) for end in here[best].interval("mean"))
        first = f"At {strength}, the mean {metric} of '{best}' over chips is {means[best]:.4g}"
        yield _joined(f"{first} (95% interval {low:.4g}-{high:.4g})", [f"'{run}': {means[run]:.4g}" for run in others])
    else:
        yields = {run: curve.yield_at(target)[0] for run, curve in here.items()}
        best, *others = sorted(yields, key=lambda run: -yields[run].fraction)
        reach = f"reach {metric} {target:g} {'or more' if sign > 0 else 'or less'}"
        first = f"At {strength}, {_percent(yields[best])} of chips with '{best}' {reach} ({_interval(yields[best])})"
        yield _joined(first, [f"'{run}': {_percent(yields[run])}" for run in others])
    failed = {run: int(curve.failed[0]) for run, curve in here.items() if curve.failed[0]}
    if failed:
        counts = ", ".join(f"{count} of {here[run].chips} with '{run}'" for run, count in failed.items())
        yield f"At {strength}, chips fail (no finite {metric}): {counts}."


def telling_sigma(curves: Mapping[str, RobustnessCurve], target: float | None) -> float:
    """Where the runs differ most, of several such the largest; for one run, where its yield is nearest one half."""
    sigmas = sorted({sigma for curve in curves.values() for sigma in curve.sigmas.tolist()})

    def spread(sigma: float) -> float:
        here = [found for curve in curves.values() if (found := at_sigma(curve, sigma)) is not None]
        if target is None:
            values = [float(curve.mean()[0]) for curve in here]
        else:
            values = [curve.yield_at(target)[0].fraction for curve in here]
        if len(curves) == 1:
            return -abs(values[0] - 0.5) if target is not None else sigma
        return float(np.nan_to_num(np.ptp(values)))

    return max(sigmas, key=lambda sigma: (spread(sigma), sigma))


def _joined(first: str, others: list[str]) -> str:
    return f"{first}; {', '.join(others)}." if others else f"{first}."


def _percent(found: Yield) -> str:
    return f"{100 * found.fraction:.3g}%"


def _interval(found: Yield) -> str:
    return f"{100 * found.confidence:.0f}% interval {100 * found.low:.0f}-{100 * found.high:.0f}%"
