"""Reading back what was logged: curves, sensitivities and counts beyond limits of every run of a log directory."""

from dataclasses import dataclass, field
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.text import metadata as text_metadata

from limpet import LimpetError, LogdirError, RobustnessCurve, Sensitivity
from limpet.checks import warn_user
from limpet.files import path_of
from limpet.results import BeyondLimits

from ._event_files import event_files, events_of, in_order, is_own, run_name
from ._summaries import PLUGIN_NAME, Logged, target_of, tensor_values, unpacked

CONFIG_TAG = "limpet/config"
"""The tag of the text that holds a run's configuration; a prefix may stand before it."""


@dataclass
class LoggedRun:
    """One run: a directory that holds event files.

    Attributes:
        name: the directory, relative to the log directory; "." for that itself.
        curves: the curves by metric and training step, in the order of steps.
        sensitivities: the sensitivities by metric and training step.
        beyond_limits: the counts of values beyond their limits, by training step.
        targets: the target of the yield by metric, where one was logged.
        texts: texts by tag, the newest of each.
    """

    name: str
    curves: dict[str, dict[int, RobustnessCurve]] = field(default_factory=dict)
    sensitivities: dict[str, dict[int, Sensitivity]] = field(default_factory=dict)
    beyond_limits: dict[int, BeyondLimits] = field(default_factory=dict)
    targets: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def _enter(self, logged: Logged, step: int) -> None:
        """Note what was logged at a step."""
        match logged.result:
            case RobustnessCurve() as curve:
                self.curves.setdefault(logged.metric, {})[step] = curve
            case Sensitivity() as costs:
                self.sensitivities.setdefault(logged.metric, {})[step] = costs
            case BeyondLimits() as counts:
                self.beyond_limits[step] = counts

    def _drop_from(self, first: int) -> None:
        """Drop what was logged at a step and later ones: a run that was resumed there logs it anew."""
        for series in (*self.curves.values(), *self.sensitivities.values(), self.beyond_limits):
            for step in [step for step in series if step >= first]:
                del series[step]

    def final(self, metric: str) -> tuple[int, RobustnessCurve]:
        """Step and curve of the newest evaluation."""
        step = max(self.curves[metric])
        return step, self.curves[metric][step]

    @property
    def configuration(self) -> str | None:
        """The text of the configuration, under whatever prefix it was logged; None where there is none."""
        return next((text for tag, text in self.texts.items() if tag.endswith(CONFIG_TAG)), None)


def logged_runs(logdir: str | Path) -> dict[str, LoggedRun]:
    """Every run under a log directory that holds robustness curves or sensitivities, by name.

    Links are followed, as TensorBoard follows them. A file that is truncated (a run that was killed, or is being
    written) or damaged gives what it holds up to there; what is no event, or no curve, is left out; each with a warning
    that names the file. The other runs are not touched by that.

    Raises:
        LogdirError: there is no such directory.
    """
    root = path_of(logdir)
    if not root.is_dir():
        raise LogdirError(f"{logdir}: there is no such directory; name one that holds TensorBoard event files")
    runs: dict[str, LoggedRun] = {}
    for path in sorted(event_files(root, warn_user), key=in_order):
        name = run_name(path.parent, root)
        _read(path, runs.setdefault(name, LoggedRun(name)))
    for run in runs.values():
        run.curves = {metric: dict(sorted(curves.items())) for metric, curves in run.curves.items()}
    return {name: run for name, run in runs.items() if run.curves or run.sensitivities}


def _read(path: Path, run: LoggedRun) -> None:
    said: set[str] = set()

    def complain(problem: str) -> None:
        if problem not in said:
            said.add(problem)
            warn_user(problem)

    own = is_own(path)
    contents: dict[str, bytes] = {}  # the metadata of each tag, which writers may give with its first summary alone
    for event in events_of(path, complain):
        # The sessions of another writer in this directory are its own affair: its runs begin and go on at other steps.
        if own and event.session_log.status == SessionLog.START:
            run._drop_from(event.step)
        for value in event.summary.value:
            plugin = value.metadata.plugin_data
            if plugin.plugin_name == text_metadata.PLUGIN_NAME and value.tensor.string_val:
                run.texts[value.tag] = value.tensor.string_val[0].decode(errors="replace")
            if plugin.plugin_name == PLUGIN_NAME:
                contents[value.tag] = plugin.content
            if value.tag not in contents:
                continue
            try:
                logged = unpacked(contents[value.tag], tensor_values(value.tensor))
            except LimpetError as error:
                complain(f"{path}: '{value.tag}' at step {event.step} is left out: {error}")
                continue
            run._enter(logged, event.step)
            try:
                target = target_of(logged.description)
            except LimpetError as error:
                complain(f"{path}: '{value.tag}' is read without the target of its yield: {error}")
                continue
            if target is not None:
                run.targets[logged.metric] = target
