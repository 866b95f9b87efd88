"""The curves that a command works on: of a run's event files, or saved as .npz."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limpet import LogdirError, MetricError, RobustnessCurve
from limpet.results import excluded_words

RUN_HELP = "a directory that holds the event files of one run, or a curve saved as .npz"


@dataclass(frozen=True)
class EvaluatedCurve:
    """A curve and where it comes from.

    Attributes:
        source: the path as it was given.
        step: the training step; None for a saved curve, which has none.
        curve: the robustness curve as it was logged or saved.
        target: the target at which its yield was logged; None where none was.
    """

    source: str
    step: int | None
    curve: RobustnessCurve
    target: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Where the curve comes from and what it was measured on, for JSON."""
        return {
            "run": self.source,
            "step": self.step,
            "fingerprint": self.curve.fingerprint,
            "hardware": self.curve.hardware,
            "excluded_chips": list(self.curve.excluded_chips),
        }

    def __str__(self) -> str:
        step = "" if self.step is None else f" at step {self.step}"
        excluded = excluded_words(self.curve.excluded_chips)
        return f"{self.source}{step}{f', {excluded}' if excluded else ''}"


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose among the curves of a run."""
    parser.add_argument("--metric", help="which metric; may be left out where only one was logged")
    parser.add_argument("--step", type=int, help="which training step's evaluation; the newest if left out")


def read_curves(path: str) -> dict[str, dict[int | None, EvaluatedCurve]]:
    """Every curve of a run: by metric, then by training step.

    Raises:
        LimpetError: there is no such run, it holds no curve, or there are several runs.
    """
    if Path(path).is_dir():
        return _logged(path)
    if Path(path).suffix == ".npz":
        curve = RobustnessCurve.load(path)
        return {curve.metric: {None: EvaluatedCurve(path, None, curve)}}
    problem = "holds no run" if Path(path).exists() else "there is no such file or directory"
    raise LogdirError(f"{path}: {problem}; needed is {RUN_HELP}")


def chosen_metric(metric: str | None, runs: dict[str, dict[str, dict[int | None, EvaluatedCurve]]]) -> str:
    """The metric asked for, or the only one that all runs hold.

    Args:
        metric: asked for; None for the only one.
        runs: the curves of each run as `read_curves` gave them, by path.

    Raises:
        MetricError: a run does not hold it, or there is none or more than one to choose from.
    """
    for path, curves in runs.items():
        if metric is not None and metric not in curves:
            raise MetricError(f"--metric {metric}: {path} holds {', '.join(curves)}")
    if metric is not None:
        return metric
    held = "; ".join(f"{path} holds {', '.join(curves)}" for path, curves in runs.items())
    common = set.intersection(*(set(curves) for curves in runs.values()))
    if len(common) != 1:
        raise MetricError(f"{held}: {'name one by --metric' if common else 'they have no metric in common'}")
    return common.pop()


def at_step(curves: dict[int | None, EvaluatedCurve], step: int | None) -> EvaluatedCurve:
    """The evaluation at a training step; the newest for None.

    Raises:
        MetricError: there is none at that step.
    """
    if step is None:
        return list(curves.values())[-1]
    if step not in curves:
        source = next(iter(curves.values())).source
        steps = [str(held_step) for held_step in curves if held_step is not None]
        held = f"evaluations are at steps {', '.join(steps)}" if steps else "it is one saved curve, without steps"
        raise MetricError(f"--step {step}: {source}: {held}")
    return curves[step]


def confidence(text: str) -> float:
    """A confidence given as an argument: a number between 0 and 1."""
    return _between(text, "0.95 for 95%")


def fraction(text: str) -> float:
    """A yield given as an argument: a number between 0 and 1, which no finite number of chips can show to be 1."""
    return _between(text, "0.95 means 95%; no number of chips can show that all chips pass")


def _between(text: str, hint: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: allowed is a number between 0 and 1 ({hint})")
    return value


def _logged(path: str) -> dict[str, dict[int | None, EvaluatedCurve]]:
    from ..tensorboard import logged_runs

    runs = logged_runs(path)
    if not runs:
        raise LogdirError(f"{path}: no robustness curves were logged there; name a directory that a callback wrote")
    if "." not in runs and len(runs) > 1:
        raise LogdirError(
            f"{path}: holds {len(runs)} runs, {', '.join(runs)}; name one, such as {path}/{next(iter(runs))}"
        )
    run = runs.get(".") or next(iter(runs.values()))
    return {
        metric: {step: EvaluatedCurve(path, step, curve, run.targets.get(metric)) for step, curve in curves.items()}
        for metric, curves in run.curves.items()
    }
