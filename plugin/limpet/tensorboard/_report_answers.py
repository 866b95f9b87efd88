"""The numbers in a report: what the tab's routes would answer, for the newest evaluation of each run."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limpet import RobustnessCurve
from limpet.results import yield_of

from . import _numbers
from ._logged_runs import LoggedRun
from ._statement import telling_sigma

MAX_COMPARED = 12
"""Runs of which every pair is compared; of more, each is compared with the first one of its hardware."""


def metrics_of(runs: Mapping[str, LoggedRun]) -> list[str]:
    """All metrics of which there are curves."""
    return sorted({metric for run in runs.values() for metric in run.curves})


def newest(runs: Mapping[str, LoggedRun], metric: str) -> dict[str, RobustnessCurve]:
    """The newest curve of each run that has one."""
    return {name: run.final(metric)[1] for name, run in runs.items() if metric in run.curves}


def target_of(runs: Mapping[str, LoggedRun], metric: str) -> float | None:
    """The first target that was logged for a metric."""
    return next((run.targets[metric] for run in runs.values() if metric in run.targets), None)


def report_answers(runs: Mapping[str, LoggedRun]) -> dict[str, Any]:
    """What the tab's routes would answer, for the newest evaluations."""
    metrics = metrics_of(runs)
    answers: dict[str, Any] = {"evaluations": {}, "chips": {}, "table": {}, "difference": {}}
    for metric in metrics:
        curves, target = newest(runs, metric), target_of(runs, metric)
        steps = {name: runs[name].final(metric)[0] for name in curves}
        answers["evaluations"][metric] = {
            name: _numbers.evaluations({steps[name]: curve}) for name, curve in curves.items()
        }
        sigmas = _sigmas(curves)
        answers["table"][metric] = {
            name: {
                _script_number(sigma): {"step": steps[name]} | _numbers.table_row(curve, sigma, target)
                for sigma in sigmas
            }
            for name, curve in curves.items()
        }
        low, high = _range(answers["evaluations"][metric].values(), target)
        answers["chips"][metric] = packed_chips(curves, low, high)
        answers["difference"][metric] = _differences(curves)
    answers["sensitivity"] = {
        metric: {
            name: _numbers.leaf_costs(run.sensitivities[metric][max(run.sensitivities[metric])])
            for name, run in runs.items()
            if metric in run.sensitivities
        }
        for metric in metrics
    }
    answers["limits"] = {
        name: _numbers.beyond_limits(max(run.beyond_limits), run.beyond_limits[max(run.beyond_limits)])
        for name, run in runs.items()
        if run.beyond_limits
    }
    overviews = {
        name: {metric: _numbers.overview(*run.final(metric), run.targets.get(metric)) for metric in sorted(run.curves)}
        for name, run in sorted(runs.items())
    }
    answers["runs"] = {
        "runs": overviews,
        "hardware_names": _numbers.names_of_hardware(overviews),
        "start_at": {metric: telling_sigma(newest(runs, metric), target_of(runs, metric)) for metric in metrics},
        "sensitivities": {name: sorted(run.sensitivities) for name, run in runs.items() if run.sensitivities},
        "limits": sorted(answers["limits"]),
    }
    return answers


def _sigmas(curves: Mapping[str, RobustnessCurve]) -> list[float]:
    return sorted({sigma for curve in curves.values() for sigma in curve.sigmas.tolist()})


def _script_number(value: float) -> str:
    """A number as JavaScript's `String` writes it, for numbers of the size of a sigma."""
    return str(int(value)) if value == int(value) else repr(value)


def _range(evaluations: Any, target: float | None) -> tuple[float, float]:
    ends = [value for shown in evaluations for value in shown["range"] or ()] + ([] if target is None else [target])
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high if high > low else low + 1.0)


def _differences(curves: Mapping[str, RobustnessCurve]) -> dict[str, dict[str, Any]]:
    if len(curves) <= MAX_COMPARED:
        pairs = list(combinations(curves, 2))
    else:
        firsts: dict[str, str] = {}  # by fingerprint of the hardware
        with_first = [(firsts.setdefault(curve.fingerprint, name), name) for name, curve in curves.items()]
        pairs = [(first, name) for first, name in with_first if first != name]
    differences: dict[str, dict[str, Any]] = {name: {} for name in curves}
    for first, second in pairs:
        differences[first][second] = _numbers.difference(curves[first], curves[second])
        differences[second][first] = _numbers.difference(curves[second], curves[first])
    return differences


def packed_chips(curves: Mapping[str, RobustnessCurve], low: float, high: float) -> dict[str, Any]:
    """What a report holds of the chips of the runs of one metric.

    Args:
        curves: the newest curve of each run, by the run's name.
        low: the smallest target in the charts of their yield.
        high: the largest target in the charts of their yield.

    Returns:
        `low`, `high` and `points`, the largest number of targets; for each run its sigmas, in rising order, its values,
        packed, shape (chips, strengths), and for each sigma how many chips reach each target; for each kind of count
        (`kind` of a run) the ends of the interval, by count.
    """
    intervals: dict[str, dict[int, tuple[float, float]]] = {}
    runs = {}
    for name, curve in curves.items():
        order = np.argsort(curve.sigmas, kind="stable")
        with np.errstate(over="ignore"):  # what single precision cannot hold has failed there
            single = curve.values[order].astype(np.float32)
        ordered = replace(curve, sigmas=curve.sigmas[order], values=single)
        passed = [
            row.passing(_numbers.targets_of(row, low, high))[0].tolist()
            for row in (
                replace(ordered, sigmas=ordered.sigmas[[k]], values=ordered.values[[k]]) for k in range(len(order))
            )
        ]
        kind = f"{curve.chips}{' in pairs' if curve.antithetic else ''}"
        ends = intervals.setdefault(kind, {})
        for count in {count for counts in passed for count in counts} - ends.keys():
            reached = yield_of(count, curve.chips, _numbers.CONFIDENCE, "exact", curve.antithetic)
            ends[count] = reached.low, reached.high
        runs[name] = {
            "sigmas": ordered.sigmas.tolist(),
            "chips": curve.chips,
            "values": _packed(single.T),
            "passed": passed,
            "kind": kind,
        }
    return {"low": low, "high": high, "points": _numbers.TARGETS, "intervals": intervals, "runs": runs}


def _packed(values: NDArray[np.float32]) -> str:
    """Numbers as text: base64 of their bytes, the lowest first."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
