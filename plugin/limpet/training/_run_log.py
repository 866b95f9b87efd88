"""The log of one run: what is logged waits here until the device has finished it, then goes to the event file."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import MetricError
from ..config._schedule import Schedule
from ..measure._monte_carlo import fetch
from ..results._robustness_curve import RobustnessCurve
from ..tensorboard import CurveWriter

DEAD_AFTER = 10
"""Steps in a row with a NaN metric after which a warning is due."""


class _Step(NamedTuple):
    number: int
    wall_time: float
    metrics: dict[str, Any]


class _Evaluation(NamedTuple):
    step: int
    rounds: list[dict[str, jax.Array]]


class RunLog:
    """Buffers what a run logs, and writes it without making a training step wait.

    Args:
        writer: of the run's event file.
        strengths: schedule and sigma by the tag under which the strength in force is logged.
        to_curves: makes curves by metric name from an evaluation's values.
        targets: the target of the yield by metric name; one number for all; None.
        flush_steps: after how many steps to write.

    Attributes:
        curves: the newest evaluation written.
    """

    def __init__(
        self,
        writer: CurveWriter,
        strengths: Mapping[str, tuple[Schedule, float]],
        to_curves: Callable[[dict[str, np.ndarray]], dict[str, RobustnessCurve]],
        targets: float | Mapping[str, float] | None,
        flush_steps: int,
    ) -> None:
        self.curves: dict[str, RobustnessCurve] = {}
        self._writer = writer
        self._strengths = {tag: _sigmas(schedule, sigma) for tag, (schedule, sigma) in strengths.items()}
        self._to_curves = to_curves
        self._targets = targets
        self._flush_steps = flush_steps
        self._steps: deque[_Step] = deque()
        self._evaluations: deque[_Evaluation] = deque()
        self._dead: dict[str, tuple[int, int]] = {}  # metric to (first step of NaN, steps since)
        self._warned = False

    def add_step(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Take a step's metrics, scalars by name.

        Raises:
            MetricError: one is no scalar.
        """
        for name, value in metrics.items():
            if not isinstance(value, int | float | np.number | np.ndarray | jax.Array) or np.shape(value):
                raise MetricError(f"metrics['{name}'] = {value!r}: allowed is one number")
        # A copy, because a number that belongs to a donated state is gone with the next step.
        kept = {name: jnp.copy(value) if isinstance(value, jax.Array) else value for name, value in metrics.items()}
        self._steps.append(_Step(step, time.time(), kept))
        if len(self._steps) >= self._flush_steps:
            self.write()

    def add_evaluation(self, step: int, rounds: list[dict[str, jax.Array]]) -> None:
        """Take an evaluation that may still be running: its rounds, each metrics by name."""
        self._evaluations.append(_Evaluation(step, rounds))
        self.write()

    def write(self, wait: bool = False) -> None:
        """Write what the device has finished; with `wait`, everything. What an interrupt cuts short is kept."""
        ready = 0
        while ready < len(self._steps) and (wait or _is_ready(self._steps[ready].metrics)):
            ready += 1
        steps = [self._steps[index] for index in range(ready)]
        fetched = jax.device_get([step.metrics for step in steps])
        strengths = {tag: sigmas([step.number for step in steps]) for tag, sigmas in self._strengths.items()}
        for index, metrics in enumerate(fetched):
            self._write_step(self._steps[0], metrics, {tag: values[index] for tag, values in strengths.items()})
            self._steps.popleft()
        while self._evaluations and (wait or all(map(_is_ready, self._evaluations[0].rounds))):
            self._write_evaluation(self._evaluations[0])
            self._evaluations.popleft()
        self._writer.flush()

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
            self._writer.close(succeeded and written)

    def _write_step(self, step: _Step, metrics: Mapping[str, Any], strengths: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            tag = name if "/" in name else f"train/{name}"
            self._writer.scalar(tag, float(value), step.number, step.wall_time)
            self._watch(name, float(value), step.number)
        for tag, value in strengths.items():
            self._writer.scalar(tag, float(value), step.number, step.wall_time)

    def _write_evaluation(self, evaluation: _Evaluation) -> None:
        rounds = [fetch(found) for found in evaluation.rounds]
        self.curves = self._to_curves(
            {name: np.concatenate([found[name] for found in rounds], axis=1) for name in rounds[0]}
        )
        for name, curve in self.curves.items():
            target = self._targets.get(name) if isinstance(self._targets, Mapping) else self._targets
            self._writer.curve(curve, evaluation.step, target)

    def _watch(self, name: str, value: float, step: int) -> None:
        """Warn, once, when a metric stays NaN or infinite: one NaN is an unlucky chip, a row of them a dead network."""
        first, count = self._dead.get(name, (step, 0))
        self._dead[name] = (step + 1, 0) if np.isfinite(value) else (first, count + 1)
        if self._dead[name][1] == DEAD_AFTER and not self._warned:
            self._warned = True
            warnings.warn(
                f"'{name}' has been NaN or infinite since step {first}. A drawn chip may have left its operating "
                f"range: lower sigma, or guard the optimizer with optax.apply_if_finite",
                RuntimeWarning,
                stacklevel=6,
            )


def _sigmas(schedule: Schedule, sigma: float) -> Callable[[list[int]], np.ndarray]:
    """A function from steps to the sigmas in force at them, evaluated in blocks of one shape (one compilation)."""
    factor, block = jax.jit(schedule.compile()), 256

    def sigmas(steps: list[int]) -> np.ndarray:
        padded = np.zeros(-(-len(steps) // block) * block, np.int32)
        padded[: len(steps)] = steps
        with _host():
            found = [np.broadcast_to(factor(part), block) for part in padded.reshape(-1, block)]
        return sigma * np.concatenate([*found, np.zeros(0)])[: len(steps)]

    return sigmas


def _host() -> AbstractContextManager[Any]:
    """Compute on the CPU: on an accelerator a log line would queue behind the training steps, and wait for them."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return nullcontext()


def _is_ready(values: Mapping[str, Any]) -> bool:
    return all(value.is_ready() for value in values.values() if isinstance(value, jax.Array))  # pyright: ignore[reportAttributeAccessIssue]
