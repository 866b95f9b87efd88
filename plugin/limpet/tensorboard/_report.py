"""The report: one HTML file that shows the newest evaluations of every run, and needs nothing else to be read."""

import html
import json
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from pathlib import Path
from string import Template
from typing import Any

from .._curve import RobustnessCurve
from .._errors import LogdirError
from . import _numbers
from ._logged_runs import LoggedRun, logged_runs
from ._page_files import one_script, page_files
from ._statement import statement, telling_sigma

PACKAGES = ("limpet", "jax", "optax", "flax", "rockpool", "numpy", "scipy", "tensorboard", "plotly")
MAX_COMPARED = 12
"""Runs of which every pair is compared; of more, each is compared with the first."""


def write_report(logdir: str | Path, output: str | Path) -> None:
    """Write what was logged under a directory as one HTML file: charts, table, configuration, versions, a plain result.

    Args:
        logdir: holds TensorBoard event files, at any depth.
        output: the file to write; its directory is made if need be.

    Raises:
        LogdirError: there is no such directory, it holds no robustness curves, or the file cannot be written.
    """
    runs = {name: run for name, run in logged_runs(logdir).items() if run.curves}
    if not runs:
        raise LogdirError(
            f"{logdir}: holds no robustness curves; name a directory under which MismatchCallback or CurveWriter logged"
        )
    page = report_html(runs)
    try:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        Path(output).write_text(page, "utf-8")
    except OSError as error:
        raise LogdirError(
            f"{output}: cannot be written ({error.strerror or error}); name a file you may write"
        ) from None


def report_html(runs: Mapping[str, LoggedRun]) -> str:
    """The report on runs that hold curves, as HTML."""
    from plotly.offline import get_plotlyjs

    template = Template(page_files()["report.html"])
    metrics = sorted({metric for run in runs.values() for metric in run.curves})
    sentences = [
        sentence for metric in metrics for sentence in statement(_final(runs, metric), _target(runs, metric), metric)
    ]
    return template.substitute(
        style=page_files()["style.css"],
        plotly=_in_script(get_plotlyjs()),
        answers=_in_script(json.dumps(_answers(runs, metrics), allow_nan=False).replace("<", "\\u003c")),
        script=_in_script(one_script("report.js")),
        result="\n".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        configurations="\n".join(_configurations(runs)),
        versions="\n".join(rows),
    )


def _final(runs: Mapping[str, LoggedRun], metric: str) -> dict[str, RobustnessCurve]:
    return {name: run.final(metric)[1] for name, run in runs.items() if metric in run.curves}


def _target(runs: Mapping[str, LoggedRun], metric: str) -> float | None:
    return next((run.targets[metric] for run in runs.values() if metric in run.targets), None)


def _answers(runs: Mapping[str, LoggedRun], metrics: list[str]) -> dict[str, Any]:
    """What the tab's routes would answer, for the newest evaluations."""
    answers: dict[str, Any] = {"evaluations": {}, "chips": {}, "table": {}, "yields": {}, "difference": {}}
    for metric in metrics:
        curves, target = _final(runs, metric), _target(runs, metric)
        steps = {name: runs[name].final(metric)[0] for name in curves}
        answers["evaluations"][metric] = {
            name: _numbers.evaluations({steps[name]: curve}) for name, curve in curves.items()
        }
        low, high = _range(answers["evaluations"][metric].values(), target)
        answers["chips"][metric] = {name: _numbers.chips(curve) for name, curve in curves.items()}
        answers["table"][metric] = {
            name: {
                _script_number(sigma): {"step": steps[name]} | _numbers.table_row(curve, sigma, target)
                for sigma in _sigmas(curves)
            }
            for name, curve in curves.items()
        }
        answers["yields"][metric] = {
            name: {
                _script_number(sigma): _numbers.yield_over_target(curve, sigma, low, high) for sigma in _sigmas(curves)
            }
            for name, curve in curves.items()
        }
        answers["difference"][metric] = _differences(curves)
    answers["sensitivity"] = {
        metric: {
            name: {"step": max(found[metric])} | _numbers.leaf_costs(found[metric][max(found[metric])])
            for name, run in runs.items()
            if metric in (found := run.sensitivities)
        }
        for metric in metrics
    }
    answers["runs"] = {
        "runs": {
            name: {
                metric: _numbers.overview(
                    run.final(metric)[0], {"curve": run.final(metric)[1].to_dict(), "target": run.targets.get(metric)}
                )
                for metric in sorted(run.curves)
            }
            for name, run in sorted(runs.items())
        },
        "start_at": {metric: telling_sigma(_final(runs, metric), _target(runs, metric)) for metric in metrics},
        "sensitivities": {name: sorted(run.sensitivities) for name, run in runs.items() if run.sensitivities},
    }
    return answers


def _sigmas(curves: Mapping[str, RobustnessCurve]) -> list[float]:
    return sorted({sigma for curve in curves.values() for sigma in curve.sigmas.tolist()})


def _script_number(value: float) -> str:
    """A number as JavaScript's `String` writes it, for numbers of the size of a sigma."""
    return str(int(value)) if value == int(value) else repr(value)


def _range(evaluations: Any, target: float | None) -> tuple[float, float]:
    ends = [value for found in evaluations for value in found["range"] or ()] + ([] if target is None else [target])
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high if high > low else low + 1.0)


def _differences(curves: Mapping[str, RobustnessCurve]) -> dict[str, dict[str, Any]]:
    names = list(curves)
    pairs = list(combinations(names, 2)) if len(names) <= MAX_COMPARED else [(names[0], name) for name in names[1:]]
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for first, second in pairs:
        found[first][second] = _numbers.difference(curves[first], curves[second])
        found[second][first] = _numbers.difference(curves[second], curves[first])
    return found


def _configurations(runs: Mapping[str, LoggedRun]) -> Iterator[str]:
    for name, run in runs.items():
        text = run.texts.get("limpet/config", "No configuration was logged.").replace("  \n", "\n")
        yield f"<details><summary>{html.escape(name)}</summary><pre>{html.escape(text)}</pre></details>"


def _versions() -> Iterator[tuple[str, str]]:
    yield "Python", platform.python_version()
    yield "platform", f"{platform.system()} {platform.machine()}"
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "not installed"


def _in_script(script: str) -> str:
    """A script that cannot end the element it stands in."""
    return script.replace("</script", "<\\/script")
