"""The log of one run: what is logged waits here until the device has finished it, then goes to the event file."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import MetricError, warn_user
from ..results._robustness_curve import RobustnessCurve
from ..tensorboard import CurveWriter
from ._evaluator import Rounds, require_targets

DEAD_AFTER = 10
"""Steps in a row with a NaN metric after which a warning is due."""


class _Steps(NamedTuple):
    """Steps in a row, logged in one call: numbers of shape (steps,), metrics by name, each of that shape."""

    numbers: np.ndarray
    wall_time: float
    metrics: dict[str, Any]


class _Evaluation(NamedTuple):
    step: int
    rounds: Rounds


class RunLog:
    """Buffers what a run logs, and writes it without making a training step wait.

    Its event file is opened when something is written for the first time. Of several processes that train together,
    the first one writes; the others hold the same numbers and write nothing.

    Args:
        open_writer: opens the run's event file.
        strengths: a function from the number of a step to the strength in force, by the tag under which it is logged.
        to_curves: makes curves by metric name from an evaluation.
        targets: the target of the yield by metric name; one number for all; None.
        flush_steps: after how many steps to write.

    Attributes:
        curves: the newest evaluation written.
    """

    def __init__(
        self,
        open_writer: Callable[[], CurveWriter],
        strengths: Mapping[str, Callable[[jax.Array], jax.Array]],
        to_curves: Callable[[Rounds], dict[str, RobustnessCurve]],
        targets: float | Mapping[str, float] | None,
        flush_steps: int,
    ) -> None:
        self.curves: dict[str, RobustnessCurve] = {}
        self._open_writer = open_writer
        self._open: CurveWriter | None = None
        self._strengths = {tag: _over_steps(strength) for tag, strength in strengths.items()}
        self._to_curves = to_curves
        self._targets = targets
        self._flush_steps = flush_steps
        self._steps: deque[_Steps] = deque()
        self._waiting = 0  # steps in `_steps`, which are not counted anew at each of them
        self._evaluations: deque[_Evaluation] = deque()
        self._dead: dict[str, tuple[int, int]] = {}  # metric to (first step of NaN, steps since)
        self._warned = False

    def open(self) -> CurveWriter | None:
        """The writer of the run's event file, which is opened if need be; None in all processes but the first.

        Raises:
            LogdirError: the log directory cannot be written.
        """
        if self._open is None and jax.process_index() == 0:
            self._open = self._open_writer()
        return self._open

    def add_steps(self, numbers: np.ndarray, metrics: Mapping[str, Any]) -> None:
        """Take the metrics of steps in a row.

        Args:
            numbers: of the steps, shape (steps,).
            metrics: by name, each one number, or an array of shape (steps,).

        Raises:
            MetricError: one has another shape.
        """
        if not isinstance(metrics, Mapping):
            raise MetricError(f"metrics is a {type(metrics).__name__}: allowed are numbers by name, {{'loss': loss}}")
        for name, value in metrics.items():
            number = isinstance(value, int | float | np.number | np.ndarray | jax.Array)
            if not number or np.shape(value) not in ((), numbers.shape):
                one = "one number (or call callback(steps, ...) with the numbers of several steps)"
                shape = one if len(numbers) == 1 else f"one number, or an array of shape {numbers.shape}"
                raise MetricError(f"metrics['{name}'] = {value!r}: allowed is {shape}")
        # A copy, because a number that belongs to a donated state is gone with the next step.
        kept = {name: jnp.copy(value) if isinstance(value, jax.Array) else value for name, value in metrics.items()}
        self._steps.append(_Steps(numbers, time.time(), kept))
        self._waiting += len(numbers)
        if self._waiting >= self._flush_steps:
            self.write()

    def add_evaluation(self, step: int, rounds: Rounds) -> None:
        """Take an evaluation that may still be running."""
        self._evaluations.append(_Evaluation(step, rounds))
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
        while self._evaluations and (wait or all(map(_is_ready, self._evaluations[0].rounds))):
            self._write_evaluation(self._evaluations[0])
            self._evaluations.popleft()
        if (writer := self.open()) is not None:
            writer.flush()

    def close(self, succeeded: bool = True) -> None:
        """Wait for what is still running, write everything, end the event file.

        Args:
            succeeded: whether training came to its end.
        """
        written = False
        try:
            self.write(wait=True)
            written = True
        finally:
            if self._open is not None:
                self._open.close(succeeded and written)

    def _write_steps(self, steps: _Steps, metrics: Mapping[str, Any], strengths: Mapping[str, np.ndarray]) -> None:
        values = {name: np.broadcast_to(value, steps.numbers.shape) for name, value in metrics.items()}
        tagged = {name if "/" in name else f"train/{name}": series for name, series in values.items()}
        tagged |= strengths
        writer = self.open()
        for index, number in enumerate(steps.numbers.tolist()):
            for name, series in values.items():
                self._watch(name, float(series[index]), number)
            for tag, series in tagged.items():
                if writer is not None:
                    writer.scalar(tag, float(series[index]), number, steps.wall_time)

    def _write_evaluation(self, evaluation: _Evaluation) -> None:
        curves = self._to_curves(evaluation.rounds)
        require_targets(self._targets, curves)
        self.curves = curves
        for name, curve in self.curves.items():
            target = self._targets.get(name) if isinstance(self._targets, Mapping) else self._targets
            if (writer := self.open()) is not None:
                writer.curve(curve, evaluation.step, target)

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
