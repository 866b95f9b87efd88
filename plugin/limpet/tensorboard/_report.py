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

from .._errors import LogdirError
from ._logged_runs import LoggedRun, logged_runs
from ._page_files import one_script, page_files
from ._report_answers import metrics_of, newest, report_answers, target_of
from ._statement import statement

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
        answers=_in_script(json.dumps(report_answers(runs), allow_nan=False).replace("<", "\\u003c")),
        script=_in_script(one_script("report.js")),
        result="\n".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        configurations="\n".join(_configurations(runs)),
        versions="\n".join(rows),
    )


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


def _in_script(script: str) -> str:
    """A script that cannot end the element it stands in."""
    return script.replace("</script", "<\\/script")
