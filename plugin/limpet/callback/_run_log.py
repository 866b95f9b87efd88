"""The log of one run: what is logged waits here until the device has finished it, then goes to the event file."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from limpet import LogdirError, MetricError, RobustnessCurve
from limpet.checks import warn_user
from limpet.results import BeyondLimits
from limpet.typing import Started

from ..tensorboard import CurveWriter
from ._checked_metrics import checked_metrics

DEAD_AFTER = 10
"""Steps in a row with a NaN metric after which a warning is due."""


class _Steps(NamedTuple):
    """Steps in a row, logged in one call: their numbers, shape (steps,); metrics by tag: one number or that shape."""

    numbers: np.ndarray
    wall_time: float
    metrics: dict[str, Any]


class _Evaluation(NamedTuple):
    step: int
    started: Started


class RunLog:
    """Buffers what a run logs, and writes it without making a training step wait.

    Its event file is opened when something is written for the first time. Of several processes that train together,
    the first one writes; the others hold the same numbers and write nothing. Once the log directory has failed, nothing
    more is written: what comes after a gap would look whole. Evaluations are finished all the same.

    Args:
        open_writer: the function that opens the run's event file when something is first written.
        strengths: a function from the number of a step to the strength in force, by the tag under which it is logged.
        to_results: makes of an evaluation its curves by metric name, and the counts of values beyond limits, if any.
        targets: the target of the yield by metric name; one number for all; None.
        flush_steps: after how many steps to write.
        on_error: whether a log directory that cannot be written is an error ("raise") or a warning ("warn"); either is
            given once.

    Attributes:
        curves: the curves of the newest evaluation that was written, by metric name.
    """

    def __init__(
        self,
        open_writer: Callable[[], CurveWriter],
        strengths: Mapping[str, Callable[[jax.Array], jax.Array]],
        to_results: Callable[[Started], tuple[dict[str, RobustnessCurve], BeyondLimits | None]],
        targets: float | Mapping[str, float] | None,
        flush_steps: int,
        on_error: Literal["raise", "warn"],
    ) -> None:
        self.curves: dict[str, RobustnessCurve] = {}
        self._open_writer = open_writer
        self._open: CurveWriter | None = None
        self._strengths = {tag: _over_steps(strength) for tag, strength in strengths.items()}
        self._to_results = to_results
        self._targets = targets
        self._flush_steps = flush_steps
        self._on_error = on_error
        self._has_failed = False  # True once the failure of the log directory has been reported
        self._steps: deque[_Steps] = deque()
        self._waiting = 0  # steps in `_steps`, which are not counted anew at each of them
        self._evaluations: deque[_Evaluation] = deque()
        self._finished: deque[tuple[int, RobustnessCurve | BeyondLimits]] = deque()
        self._dead: dict[str, tuple[int, int]] = {}  # metric to (first step of NaN, steps since)
        self._warned = False

    def open(self) -> CurveWriter | None:
        """The writer of the run's event file, which is opened if need be; None in all processes but the first, and
        where the log directory has failed.

        Raises:
            LogdirError: the log directory cannot be written, and that is to be an error.
        """
        if self._open is None and not self._has_failed and jax.process_index() == 0:
            try:
                self._open = self._open_writer()
            except LogdirError as error:
                self._fail(error)
        return self._open

    def add_steps(self, numbers: np.ndarray, metrics: Mapping[str, Any]) -> None:
        """Take the metrics of steps in a row.

        Args:
            numbers: the numbers of the steps, shape (steps,).
            metrics: the metrics by name, each one number, or an array of shape (steps,).

        Raises:
            MetricError: one cannot be logged; then none is taken.
        """
        by_tag = checked_metrics(metrics, numbers, self._strengths)
        # Copies, because a number that belongs to a donated state is gone with the next step, and an array of NumPy's
        # may be filled anew.
        kept = {tag: jnp.copy(value) if isinstance(value, jax.Array) else copy(value) for tag, value in by_tag.items()}
        self._steps.append(_Steps(numbers, time.time(), kept))
        self._waiting += len(numbers)
        if self._waiting >= self._flush_steps:
            self.write()

    def add_evaluation(self, step: int, started: Started) -> None:
        """Take an evaluation that may still be running."""
        self._evaluations.append(_Evaluation(step, started))
        self.write()

    def write(self, wait: bool = False) -> None:
        """Write what the device has finished; with `wait`, everything. What an interrupt cuts short is kept."""
        ready = 0
        while ready < len(self._steps) and (wait or _is_ready(self._steps[ready].metrics)):
            ready += 1
        entries = [self._steps[index] for index in range(ready)]
        fetched = jax.device_get([entry.metrics for entry in entries])
        # One evaluation for all of them: a compiled call for each step would take longer than its log.
        numbers = np.concatenate([np.zeros(0, np.int64), *(entry.numbers for entry in entries)])
        strengths = {tag: strength(numbers) for tag, strength in self._strengths.items()}
        first = 0
        for entry, metrics in zip(entries, fetched, strict=True):
            rows = slice(first, first + len(entry.numbers))
            self._write_steps(entry, metrics, {tag: series[rows] for tag, series in strengths.items()})
            self._steps.popleft()
            self._waiting -= len(entry.numbers)
            first = rows.stop
        self._write_finished()
        while self._evaluations and (wait or _has_finished(self._evaluations[0].started)):
            self._finish(self._evaluations[0])
            self._evaluations.popleft()
            self._write_finished()
        self._do(CurveWriter.flush)

    def close(self, succeeded: bool = True) -> None:
        """Wait for what is still running, write everything, end the event file.

        Args:
            succeeded: whether training came to its end.
        """
        try:
            self.write(wait=True)
        except BaseException as error:
            with adding_to(error):
                self._end(succeeded=False)
            raise
        self._end(succeeded)

    def _end(self, succeeded: bool) -> None:
        if self._open is not None:
            self._do(lambda writer: writer.close(succeeded))

    def _write_steps(self, steps: _Steps, metrics: Mapping[str, Any], strengths: Mapping[str, np.ndarray]) -> None:
        values = {
            tag: np.broadcast_to(np.asarray(value, np.float64), steps.numbers.shape).tolist()
            for tag, value in metrics.items()
        }
        numbers = steps.numbers.tolist()
        for tag, series in values.items():
            for number, value in zip(numbers, series, strict=True):
                self._watch(tag.removeprefix("train/"), value, number)
        series = values | {tag: strength.tolist() for tag, strength in strengths.items()}
        self._do(lambda writer: writer.scalars(series, numbers, steps.wall_time))

    def _finish(self, evaluation: _Evaluation) -> None:
        curves, beyond = self._to_results(evaluation.started)
        _require_targets(self._targets, curves)
        self.curves = curves
        self._finished.extend([(evaluation.step, curve) for curve in curves.values()])
        if beyond is not None:
            self._finished.append((evaluation.step, beyond))

    def _write_finished(self) -> None:
        """Write what finished evaluations gave, each as a whole: an interrupt leaves what is not written yet."""
        while self._finished:
            step, result = self._finished[0]
            if isinstance(result, BeyondLimits):
                self._do(lambda writer, step=step, beyond=result: writer.limits(beyond, step))
            else:
                target = self._targets.get(result.metric) if isinstance(self._targets, Mapping) else self._targets
                self._do(lambda writer, step=step, curve=result, target=target: writer.curve(curve, step, target))
            self._finished.popleft()

    def _do(self, write: Callable[[CurveWriter], None]) -> None:
        """Write to the event file, where there is one."""
        if (writer := self.open()) is None:
            return
        try:
            write(writer)
        except LogdirError as error:
            self._fail(error)

    def _fail(self, error: LogdirError) -> None:
        """Tell, once, that the log directory cannot be written, and from which step on nothing is logged."""
        self._has_failed = True
        writer, self._open = self._open, None
        if writer is not None:
            writer.abandon()
        steps = [int(entry.numbers[0]) for entry in self._steps]
        evaluated = [step for step, _ in self._finished] + [evaluation.step for evaluation in self._evaluations]
        lost = "nothing is logged" if writer is None else "nothing more is logged"
        if steps:
            earlier = [step for step in evaluated if step < steps[0]]
            lost = f"nothing is logged from step {steps[0]} on"
            lost += f", nor the evaluation of step {earlier[0]}" if earlier else ""
        elif evaluated:
            lost = f"nothing is logged from the evaluation of step {evaluated[0]} on"
        if self._on_error == "raise":
            raise LogdirError(f"{error}; {lost}. To train on without a log, set tensorboard.on_error to warn") from None
        warn_user(f"{error}; {lost}. Training goes on")

    def _watch(self, name: str, value: float, step: int) -> None:
        """Warn, once, when a metric stays NaN or infinite: one NaN is an unlucky chip, a row of them a dead network."""
        first, count = self._dead.get(name, (step, 0))
        self._dead[name] = (step + 1, 0) if np.isfinite(value) else (first, count + 1)
        if self._dead[name][1] == DEAD_AFTER and not self._warned:
            self._warned = True
            warn_user(
                f"'{name}' has been NaN or infinite since step {first}. A drawn chip may have left its operating "
                f"range: lower sigma, or guard the optimizer with optax.apply_if_finite",
                RuntimeWarning,
            )


def _require_targets(targets: float | Mapping[str, float] | None, curves: Mapping[str, RobustnessCurve]) -> None:
    """Refuse a target of a metric that there is not.

    Raises:
        MetricError: names it, and the metrics there are.
    """
    unknown = targets.keys() - curves.keys() if isinstance(targets, Mapping) else ()
    if unknown:
        raise MetricError(f"robustness.target names {', '.join(sorted(unknown))}; the metrics are {', '.join(curves)}")


@contextmanager
def adding_to(error: BaseException) -> Iterator[None]:
    """Do something after an error that must not be hidden: what fails in turn becomes a note of that error."""
    try:
        yield
    except Exception as another:
        error.add_note(f"The log could not be ended either: {type(another).__name__}: {another}")


def _over_steps(strength: Callable[[jax.Array], jax.Array]) -> Callable[[np.ndarray], np.ndarray]:
    """The strengths in force at some steps, evaluated in blocks of one shape (one compilation)."""
    compiled, block = jax.jit(jax.vmap(strength)), 256

    def strengths(steps: np.ndarray) -> np.ndarray:
        padded = np.zeros(-(-len(steps) // block) * block, np.int32)
        padded[: len(steps)] = steps
        with _host():
            blocks = [np.asarray(compiled(part)) for part in padded.reshape(-1, block)]
        return np.concatenate([*blocks, np.zeros(0)])[: len(steps)]

    return strengths


def _host() -> AbstractContextManager[Any]:
    """Compute on the CPU: on an accelerator a log line would queue behind the training steps, and wait for them."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return nullcontext()


def _is_ready(values: Mapping[str, Any]) -> bool:
    return all(value.is_ready() for value in values.values() if isinstance(value, jax.Array))  # pyright: ignore[reportAttributeAccessIssue]


def _has_finished(started: Started) -> bool:
    return all(map(_is_ready, [*started.rounds, *started.beyond]))
