"""The numbers in a report: what the tab's routes would answer, for the newest evaluation of each run."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from limpet import RobustnessCurve

from . import _numbers
from ._logged_runs import LoggedRun
from ._packed_chips import packed_chips
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
