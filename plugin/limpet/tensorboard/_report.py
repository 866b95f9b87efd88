"""The report: one HTML file that shows the newest evaluations of every run, and needs nothing else to be read."""

import html
import json
import platform
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from string import Template
from typing import Any

from limpet import LogdirError
from limpet.results import hardware_names

from ._logged_runs import LoggedRun, logged_runs
from ._page_files import one_script, page_files, write_text
from ._report_answers import metrics_of, newest, report_answers, target_of
from ._statement import named, statement

MOST_UNFOLDED = 4
"""Runs whose configurations are shown at once; of more, each is opened with a click."""


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
        raise LogdirError(f"{logdir}: holds no robustness curves; name a directory under which they were logged")
    write_text(output, report_html(runs))


def report_html(runs: Mapping[str, LoggedRun]) -> str:
    """The report on runs that hold curves, as HTML."""
    from plotly.offline import get_plotlyjs

    template = Template(page_files()["report.html"])
    # What is said of the hardware is the same for every metric, and said once.
    sentences = dict.fromkeys(
        sentence
        for metric in metrics_of(runs)
        for sentence in statement(newest(runs, metric), target_of(runs, metric), metric)
    )
    rows = [f"<tr><td>{html.escape(name)}</td><td>{html.escape(number)}</td></tr>" for name, number in _versions()]
    return template.substitute(
        style=page_files()["style.css"],
        plotly=_in_script(get_plotlyjs()),
        answers=_in_script(_json(report_answers(runs)).replace("<", "\\u003c")),
        script=_in_script(one_script("report.js")),
        result="\n".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        hardware="\n".join(f"<p>{html.escape(line)}</p>" for line in _hardware(runs)),
        configurations="\n".join(_configurations(runs)),
        versions="\n".join(rows),
    )


def _hardware(runs: Mapping[str, LoggedRun]) -> Iterator[str]:
    """What each hardware is, in full, and which runs were measured on it."""
    curves = [(name, run.final(metric)[1]) for name, run in runs.items() for metric in run.curves]
    descriptions = {curve.fingerprint: curve.hardware for _, curve in curves}
    names = hardware_names(descriptions)
    for fingerprint, words in descriptions.items():
        alike = list(dict.fromkeys(name for name, curve in curves if curve.fingerprint == fingerprint))
        full = f": {words}" if words and words != names[fingerprint] else ""
        yield f"{names[fingerprint]}{full} (measured on it: {named(alike)})"


def _configurations(runs: Mapping[str, LoggedRun]) -> Iterator[str]:
    unfolded = " open" if len(runs) <= MOST_UNFOLDED else ""
    for name, run in runs.items():
        text = (run.configuration or "No configuration was logged.").replace("  \n", "\n")
        yield f"<details{unfolded}><summary>{html.escape(name)}</summary><pre>{html.escape(text)}</pre></details>"


def _versions() -> Iterator[tuple[str, str]]:
    yield "Python", platform.python_version()
    yield "platform", f"{platform.system()} {platform.machine()}"
    yield "limpet", version("limpet")
    for requirement in requires("limpet") or ():
        package = re.match(r"[\w.-]+", requirement)
        if package is None or "extra ==" in requirement:
            continue
        try:
            yield package[0], version(package[0])
        except PackageNotFoundError:
            yield package[0], "not installed"


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _in_script(script: str) -> str:
    """A script that cannot end the element it stands in."""
    return script.replace("</script", "<\\/script")
