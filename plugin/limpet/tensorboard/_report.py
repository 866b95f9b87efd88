"""The report: one HTML file that shows the newest evaluations of every run, and needs nothing else to be read."""

import html
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from string import Template

from limpet import LogdirError, MetricError, RobustnessCurve
from limpet.checks import number
from limpet.files import path_of, write_text
from limpet.results import hardware_names

from ._logged_runs import LoggedRun, logged_runs
from ._page_files import in_script, json_in_script, one_script, page_files, paragraphs
from ._report_answers import metrics_of, newest, report_answers, target_of
from ._statement import named, statement

MOST_UNFOLDED = 4
"""Runs whose configurations are shown at once; of more, each is opened with a click."""


def write_report(sources: str | Path | Sequence[str | Path], output: str | Path, target: float | None = None) -> None:
    """Write runs as one HTML file: charts, table, configuration, versions, and the result in plain sentences.

    Args:
        sources: a directory that holds TensorBoard event files, at any depth; a curve that `RobustnessCurve.save`
            wrote, which becomes a run of the file's name, at step 0; or several of these.
        output: the file to write; its directory is made if need be.
        target: the target of the yield, for metrics of which none was logged, as of saved curves.

    Raises:
        LogdirError: there is no such directory, it holds no robustness curves, or the file cannot be written.
        MetricError: a file holds no curve, or the target is no finite number.
    """
    if target is not None:
        target = number("target", target, error=MetricError)
    paths = [sources] if isinstance(sources, str | Path) else list(sources)
    runs: dict[str, LoggedRun] = {}
    for source in map(path_of, paths):
        for name, run in _runs_of(source).items():
            whole = str(source) if source.is_file() else f"{source}/{name}".removesuffix("/.")
            # Runs of several directories, and curves of one name, are told apart by their whole paths.
            runs[whole if name in runs or (len(paths) > 1 and source.is_dir()) else name] = run
    if target is not None:
        logged = {metric for run in runs.values() for metric in run.targets}
        for run in runs.values():
            run.targets |= dict.fromkeys(run.curves.keys() - logged, target)
    write_text(output, report_html(runs))


def _runs_of(source: Path) -> dict[str, LoggedRun]:
    """The runs with curves under a directory, or the one that a saved curve is."""
    if source.suffix == ".npz" and not source.is_dir():
        curve = RobustnessCurve.load(source)
        return {source.stem: LoggedRun(source.stem, {curve.metric: {0: curve}})}
    runs = {name: run for name, run in logged_runs(source).items() if run.curves}
    if not runs:
        raise LogdirError(f"{source}: holds no robustness curves; name a directory under which they were logged")
    return runs


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
        plotly=in_script(get_plotlyjs()),
        answers=json_in_script(report_answers(runs)),
        script=in_script(one_script("report.js")),
        result=paragraphs(sentences),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        hardware=paragraphs(_hardware(runs)),
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
