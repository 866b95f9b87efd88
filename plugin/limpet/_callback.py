"""What a training loop holds on to: draws inside the jitted step, logs and evaluations outside it."""

import time
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from . import _rockpool
from ._audit import ProbeNotes, plant
from ._config import Config, MismatchConfig
from ._curve import RobustnessCurve
from ._errors import ConfigError, LimpetError, MetricError, MismatchNotApplied
from ._mismatch import Recipe
from ._monte_carlo import MonteCarlo, fetch
from ._random import step_key
from ._robustness import MetricFn, Strengths, chip_metrics, curves_of
from .tensorboard import CurveWriter

DEAD_AFTER = 10
"""Steps in a row with a NaN metric after which the callback warns."""


class _Logged(NamedTuple):
    """Numbers of one step that are still on the device."""

    step: int
    wall_time: float
    metrics: Mapping[str, Any]


class _Evaluation(NamedTuple):
    """An evaluation that may still be running on the device: its rounds, each metrics by name."""

    step: int
    rounds: list[dict[str, jax.Array]]


class MismatchCallback:
    """Mismatch for a training loop, by configuration.

    Parameters stay nominal everywhere outside the loss: the optimizer, checkpoints and evaluation need no special
    case. Draws follow from (seed, step, leaf path), so a resumed run repeats them.

    Args:
        model: a Rockpool JAX module (frozen already, where the configuration names one chip), or the parameter tree.
        config: from `limpet.load_config`.
        metric_fn: `metric_fn(tree, batch)`, jittable, gives a scalar or a dict of scalars, for the robustness curve;
            for a Rockpool module `tree` holds parameters and simulation parameters. None: no evaluation.
        eval_batch: handed to `metric_fn`; a pytree of arrays.

    Attributes:
        logdir: the TensorBoard log directory of this run.
        curves: the newest finished evaluation, a `RobustnessCurve` by metric name.

    Raises:
        PrototypeError: the configuration's targets do not fit the model, or dynamic and frozen targets overlap.
        LogdirError: the log directory cannot be written.
        ConfigError: evaluations are configured, but there is no `metric_fn`.

    Example:
        >>> import jax, jax.numpy as jnp, limpet, tempfile
        >>> config = limpet.Config.model_validate({
        ...     "dynamic": {"sigma": 0.1, "targets": ["w"]},
        ...     "robustness": {"sigmas": [0.0, 0.1], "chips": 20, "every_steps": 5},
        ...     "tensorboard": {"logdir": tempfile.mkdtemp()},
        ... })
        >>> params, x = {"w": jnp.ones(8)}, jnp.arange(8.0)
        >>> def loss_fn(params, x):
        ...     return ((params["w"] * x - x) ** 2).mean()
        >>> callback = limpet.MismatchCallback(params, config, metric_fn=loss_fn, eval_batch=x)
        >>> @jax.jit
        ... def update(params, step, x):
        ...     loss, grads = jax.value_and_grad(lambda p: loss_fn(callback.inject(p, step), x))(params)
        ...     return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), loss
        >>> with callback:
        ...     for step in range(10):
        ...         params, loss = update(params, step, x)
        ...         callback(step, params, {"loss": loss})
        >>> callback.curves["loss_fn"].values.shape
        (2, 20)
    """

    logdir: Path
    curves: dict[str, RobustnessCurve]

    def __init__(
        self, model: Any, config: Config, *, metric_fn: MetricFn | None = None, eval_batch: Any = None
    ) -> None:
        if metric_fn is None and "robustness" in config.model_fields_set:
            raise ConfigError("robustness: evaluations are configured, but the callback was given no metric_fn")
        self._config = config
        self._loss_notes, self._metric_notes = ProbeNotes(), ProbeNotes()
        # With fresh chips the loss needs the deviated simulation parameters too, which no optimizer holds.
        self._nominal = _rockpool.nominal_attributes(model) if _rockpool.is_module(model) else None
        self._injected: list[tuple[MismatchConfig, Recipe]] = []
        if config.dynamic is not None:
            self._injected.append((config.dynamic, config.dynamic.recipe(model)))
        if config.frozen is not None and config.fresh_chips:
            self._injected.append((config.frozen, config.frozen.recipe(model)))
        if len(self._injected) == 2:
            _ = self._injected[0][1] | self._injected[1][1]  # refuses leaves that are selected twice
        self._metric_fn = metric_fn
        self._eval_batch = jax.device_put(eval_batch)  # once, not at every evaluation
        self._strengths_measured = self._engine = None
        if metric_fn is not None:
            self._strengths_measured, self._engine = self._build_engine(metric_fn, config.chip_recipe(model))
        self._injecting = self._audited = self._warned = False
        self._dead: dict[str, tuple[int, int]] = {}  # metric to (first step of NaN, steps since)
        self._logged: list[_Logged] = []
        self._evaluations: list[_Evaluation] = []
        self.curves = {}
        self._strengths = {
            f"mismatch/sigma_{'frozen' if section is config.frozen else 'dynamic'}": _strength(section)
            for section, _ in self._injected
        }
        self.logdir = config.tensorboard.logdir
        self._writer = CurveWriter(self.logdir)
        self._writer.text("limpet/config", config.describe().replace("\n", "  \n"))
        self._writer.flush()

    def inject(self, params: Any, step: ArrayLike) -> Any:
        """The deviated tree for one training step; pure, to be called inside the jitted loss.

        Args:
            params: nominal parameters, as the optimizer holds them.
            step: number of the step, an integer >= 0; may be traced.

        Returns:
            Parameters with this step's dynamic mismatch. With fresh chips of a Rockpool network, parameters and
            deviated simulation parameters together. `net.set_attributes` takes either.

        Raises:
            LimpetError: `step` is no integer.
            PrototypeError: `params` holds leaves that the network does not have.
        """
        if not jnp.issubdtype(jnp.result_type(step), jnp.integer):
            raise LimpetError(f"step = {step!r}: allowed is an integer >= 0, it names the draw")
        self._injecting = True
        tree = self._whole(params) if self._config.fresh_chips else params
        key = step_key(self._config.seed, step)
        for section, recipe in self._injected:
            tree = recipe(key, tree, section.schedule.compile()(step))
            tree = plant(tree, recipe.paths, self._loss_notes)
        return tree

    def __call__(self, step: int, params: Any, metrics: Mapping[str, Any] | None = None) -> None:
        """Log a training step, and evaluate on virtual chips when it is due; to be called after the update.

        Nothing here waits for the device: numbers are fetched in batches, evaluations when they are done.

        Args:
            step: the number that `inject` got.
            params: nominal parameters after the update.
            metrics: scalars by name (Python numbers or device arrays), logged under `train/`.

        Raises:
            MismatchNotApplied: at the first step: `inject` was never called, or a draw does not reach the loss, or
                the metric.
            MetricError: a metric is no scalar.
        """
        step, metrics = int(step), dict(metrics or {})
        for name, value in metrics.items():
            if not isinstance(value, int | float | np.number | np.ndarray | jax.Array) or np.shape(value):
                raise MetricError(f"metrics['{name}'] = {value!r}: allowed is one number")
        if metrics:
            self._audit_loss()
        self._logged.append(_Logged(step, time.time(), metrics))
        due = self._metric_fn is not None and step % self._config.robustness.every_steps == 0
        if due:
            self._start_evaluation(step, params)
        if due or len(self._logged) >= self._config.tensorboard.flush_steps:
            self._write(wait=False)

    def evaluate(self, step: int, params: Any) -> dict[str, RobustnessCurve]:
        """Evaluate on the virtual chips now, log the curves, and wait for them.

        Args:
            step: under which to log them.
            params: nominal parameters.

        Returns:
            A `RobustnessCurve` by metric name.

        Raises:
            MismatchNotApplied: a draw does not reach the metric.
            ConfigError: the callback has no `metric_fn`.
        """
        if self._metric_fn is None:
            raise ConfigError("nothing to evaluate: the callback was given no metric_fn")
        self._start_evaluation(int(step), params)
        self._write(wait=True)
        return self.curves

    def close(self) -> None:
        """Wait for what is still running, write everything and end the event file."""
        try:
            self._write(wait=True)
        finally:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _whole(self, params: Any) -> Any:
        return params if self._nominal is None else _overlaid(self._nominal, params)

    def _build_engine(self, metric_fn: MetricFn, recipe: Recipe) -> tuple[Strengths, MonteCarlo]:
        robustness = self._config.robustness
        strengths = Strengths.at_sigmas(recipe, robustness.sigmas)

        def probed_metric(tree: Any, batch: Any) -> Any:
            return metric_fn(plant(tree, recipe.paths, self._metric_notes), batch)

        chip_fn = chip_metrics(probed_metric, strengths.recipe, self._chip_seed, self._whole)
        scales = jnp.asarray(strengths.scales)
        return strengths, MonteCarlo(chip_fn, scales, chips=robustness.chips, chunk=robustness.chunk)

    @property
    def _chip_seed(self) -> int:
        return self._config.seed if self._config.robustness.seed is None else self._config.robustness.seed

    def _start_evaluation(self, step: int, params: Any) -> None:
        assert self._engine is not None
        operands = (jax.tree.map(jnp.asarray, params), self._eval_batch)
        rounds = list(self._engine.rounds(operands, 0, self._config.robustness.chips))
        self._evaluations.append(_Evaluation(step, rounds))
        self._metric_notes.require_reached()

    def _audit_loss(self) -> None:
        if self._audited or not self._injected:
            return
        self._audited = True
        if not self._injecting:
            raise MismatchNotApplied(
                "a training step was logged, but callback.inject was never called, so nothing deviated: "
                "call loss_fn(callback.inject(params, step), batch) inside the jitted update"
            )
        self._loss_notes.require_reached()

    def _write(self, wait: bool) -> None:
        """Write what the device has finished; with `wait`, everything."""
        logged, self._logged = _split(self._logged, lambda entry: wait or _ready(entry.metrics))
        evaluations, self._evaluations = _split(self._evaluations, lambda entry: wait or all(map(_ready, entry.rounds)))
        fetched = jax.device_get([dict(entry.metrics) for entry in logged])
        strengths = {tag: strength([entry.step for entry in logged]) for tag, strength in self._strengths.items()}
        for index, (entry, metrics) in enumerate(zip(logged, fetched, strict=True)):
            for name, value in metrics.items():
                self._watch(name, float(value), entry.step)
                self._writer.scalar(name if "/" in name else f"train/{name}", float(value), entry.step, entry.wall_time)
            for tag, values in strengths.items():
                self._writer.scalar(tag, float(values[index]), entry.step, entry.wall_time)
        for evaluation in evaluations:
            self._write_evaluation(evaluation)
        self._writer.flush()

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
                stacklevel=4,
            )

    def _write_evaluation(self, evaluation: _Evaluation) -> None:
        assert self._metric_fn is not None
        assert self._strengths_measured is not None
        rounds = [fetch(found) for found in evaluation.rounds]
        values = {name: np.concatenate([found[name] for found in rounds], axis=1) for name in rounds[0]}
        robustness = self._config.robustness
        self.curves = curves_of(
            self._metric_fn, values, self._strengths_measured, self._chip_seed, robustness.higher_is_better
        )
        for curve in self.curves.values():
            self._writer.curve(curve, evaluation.step, robustness.target)


def _strength(section: MismatchConfig) -> Any:
    """A function from steps to the sigmas in force at them, evaluated in blocks of one shape (one compilation)."""
    factor, block = jax.jit(section.schedule.compile()), 256

    def sigmas(steps: list[int]) -> np.ndarray:
        padded = np.zeros(-(-len(steps) // block) * block, np.int32)
        padded[: len(steps)] = steps
        with _host():
            found = [np.broadcast_to(factor(part), block) for part in padded.reshape(-1, block)]
        return section.sigma * np.concatenate([*found, np.zeros(0)])[: len(steps)]

    return sigmas


def _host() -> AbstractContextManager[Any]:
    """Compute on the CPU: on an accelerator a log line would queue behind the training steps, and wait for them."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return nullcontext()


def _split(entries: list, ready: Any) -> tuple[list, list]:
    """The entries up to the first that is not ready, and the rest: events are written in order."""
    count = next((index for index, entry in enumerate(entries) if not ready(entry)), len(entries))
    return entries[:count], entries[count:]


def _ready(values: Mapping[str, Any]) -> bool:
    return all(value.is_ready() for value in values.values() if isinstance(value, jax.Array))  # pyright: ignore[reportAttributeAccessIssue]


def _overlaid(base: dict[str, Any], top: Any) -> dict[str, Any]:
    """A nested dict with the entries of another laid over it; entries that only `top` has stay, to be refused."""
    return {
        **base,
        **{
            name: _overlaid(base[name], value)
            if isinstance(value, dict) and isinstance(base.get(name), dict)
            else value
            for name, value in top.items()
        },
    }
