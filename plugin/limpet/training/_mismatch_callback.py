"""What a training loop holds on to: draws inside the jitted step, logs and evaluations outside it."""

import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from .._errors import ConfigError, LimpetError, MismatchNotApplied, PrototypeError
from ..config._config import Config, FrozenConfig, MismatchConfig
from ..config._hparams import hparams_of
from ..draws._keys import step_key
from ..hardware._mismatch import Recipe
from ..leaves import flax_nnx as _nnx
from ..leaves import rockpool as _rockpool
from ..leaves._paths import leaves_by_path, listing
from ..measure._monte_carlo import MonteCarlo
from ..measure._robustness_curve import MetricFn, Strengths, chip_metrics, curves_of
from ..results._robustness_curve import RobustnessCurve
from ..tensorboard import CurveWriter
from ._audit import ProbeNotes, plant, require_reached
from ._resume import resumed_step, run_checkpoint
from ._run_log import RunLog


class _Injected(NamedTuple):
    """What is drawn at every step."""

    section: MismatchConfig
    recipe: Recipe
    seed: int


class MismatchCallback:
    """Mismatch for a training loop, by configuration.

    Parameters stay nominal everywhere outside the loss: the optimizer, checkpoints and evaluation need no special
    case. Draws follow from (seed, step, leaf path), so a resumed run repeats them.

    Args:
        model: a Rockpool JAX module (frozen already, where the configuration names one chip), a Flax nnx module, or the
            parameter tree.
        config: from `limpet.load_config`.
        metric_fn: `metric_fn(tree, batch)`, jittable, gives a scalar or a dict of scalars, for the robustness curve;
            for a Rockpool module `tree` holds parameters and simulation parameters, for an nnx module it is a module.
            None: no evaluation.
        eval_batch: handed to `metric_fn`; a pytree of arrays.
        resume: what `checkpoint` returned, to go on with a run that ended; None: a new run.

    Attributes:
        logdir: the TensorBoard log directory of this run.
        first_step: the first step to do: 0, or the one after the checkpoint's.

    Raises:
        PrototypeError: the configuration's targets do not fit the model, or dynamic and frozen targets overlap.
        LogdirError: the log directory cannot be written.
        ConfigError: evaluations are configured, but there is no `metric_fn`; or `resume` is of another configuration.

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

    def __init__(
        self,
        model: Any,
        config: Config,
        *,
        metric_fn: MetricFn | None = None,
        eval_batch: Any = None,
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(config, Config):
            raise ConfigError(f"config = {config!r}: give what limpet.load_config returns")
        if metric_fn is None and "robustness" in config.model_fields_set:
            raise ConfigError("robustness: evaluations are configured, but the callback was given no metric_fn")
        self._config = config
        self.first_step = 0 if resume is None else resumed_step(config, resume)
        # With fresh chips the loss needs the deviated simulation parameters too, which no optimizer holds.
        self._nominal = _rockpool.nominal_attributes(model) if _rockpool.is_module(model) else None
        self._injected: list[_Injected] = []
        self._fixed: tuple[FrozenConfig, frozenset[str]] | None = None
        if config.dynamic is not None:
            self._injected.append(_Injected(config.dynamic, config.dynamic.recipe(model), config.seed))
        if config.frozen is not None:
            recipe = config.frozen.recipe(model)
            if config.fresh_chips:
                self._injected.append(_Injected(config.frozen, recipe, config.frozen.seed or 0))
            else:
                self._fixed = config.frozen, frozenset(recipe.paths)
        if len(self._injected) == 2:
            _ = self._injected[0].recipe | self._injected[1].recipe  # refuses leaves that are selected twice
        self._engine = None
        self._chip_seed = config.seed if config.robustness.seed is None else config.robustness.seed
        self._metric_notes = ProbeNotes()
        strengths = None
        if metric_fn is not None:
            recipe = config.chip_recipe(model)
            strengths = Strengths.at_sigmas(recipe, config.robustness.sigmas)
            self._engine = self._build_engine(metric_fn, recipe, strengths)
        self._eval_batch = jax.device_put(eval_batch)  # once, not at every evaluation
        self._loss_notes: list[ProbeNotes] = []  # of each time that `inject` was called
        self._calls = 0
        self._audited = self._closed = False

        def to_curves(values: dict[str, np.ndarray]) -> dict[str, RobustnessCurve]:
            assert metric_fn is not None
            assert strengths is not None
            better = config.robustness.higher_is_better
            return curves_of(metric_fn, values, strengths, self._chip_seed, better, config.generator)

        self.logdir = config.tensorboard.logdir
        writer = CurveWriter(self.logdir)
        if resume is None:
            writer.text("limpet/config", config.describe().replace("\n", "  \n"))
        else:
            writer.resume(self.first_step)
        writer.hparams(hparams_of(config))
        tags = {
            f"mismatch/sigma_{'frozen' if section is config.frozen else 'dynamic'}": (section.schedule, section.sigma)
            for section, _, _ in self._injected
        }
        self._log = RunLog(writer, tags, to_curves, config.robustness.target, config.tensorboard.flush_steps)

    @property
    def curves(self) -> dict[str, RobustnessCurve]:
        """The newest finished evaluation, a `RobustnessCurve` by metric name."""
        return self._log.curves

    def inject(self, params: Any, step: ArrayLike, draw: ArrayLike | None = None) -> Any:
        """The deviated tree for one training step; pure, to be called inside the jitted loss.

        Args:
            params: nominal parameters, as the optimizer holds them; or the Flax nnx module.
            step: number of the step, an integer >= 0; may be traced.
            draw: number of the draw within the step, an integer >= 0 which may be traced: one for each micro-batch of
                an accumulated gradient, say. None: the step's only draw.

        Returns:
            Parameters with this step's dynamic mismatch. With fresh chips of a Rockpool network, parameters and
            deviated simulation parameters together. `net.set_attributes` takes either. For an nnx module, a module
            whose selected parameters deviate and which shares all other state with the one given.

        Raises:
            LimpetError: `step` or `draw` is no integer, or negative; an nnx module with state was captured by the
                traced function.
            PrototypeError: `params` holds leaves that the network does not have, or leaves that a fixed chip deviates;
                an nnx module's structure has changed.
        """
        _require_number(step, "step")
        if draw is not None:
            _require_number(draw, "draw")
        self._refuse_fixed(params)
        if not _nnx.is_module(params):
            return self._deviated(params, step, draw)
        _nnx.require_selected(params, [path for _, recipe, _ in self._injected for path in recipe.paths])
        return _nnx.with_values(
            params, lambda leaves: leaves_by_path(self._deviated(_nnx.nested(leaves), step, draw))[0]
        )

    def __call__(self, step: int, params: Any, metrics: Mapping[str, Any] | None = None) -> None:
        """Log a training step, and evaluate on virtual chips when it is due; to be called after the update.

        Nothing here waits for the device: numbers are fetched in batches, evaluations when they are done.

        Args:
            step: the number that `inject` got.
            params: nominal parameters after the update, or the nnx module.
            metrics: scalars by name (Python numbers or device arrays), logged under `train/`.

        Raises:
            MismatchNotApplied: at the first step: `inject` was never called, or a draw does not reach the loss, or
                the metric.
            MetricError: a metric is no scalar.
            LimpetError: the callback is closed.
        """
        self._refuse_closed()
        step = int(step)
        self._calls += 1
        self._log.add_step(step, metrics or {})
        self._audit_loss(trained=bool(metrics) or self._calls > 1)
        if self._engine is not None and step % self._config.robustness.every_steps == 0:
            self._start_evaluation(step, params)

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
            LimpetError: the callback is closed.
        """
        self._refuse_closed()
        self._start_evaluation(int(step), params)
        self._log.write(wait=True)
        return self.curves

    def checkpoint(self, step: int) -> dict[str, Any]:
        """What a checkpoint of this run keeps beside parameters and optimizer state: plain JSON.

        Everything logged so far is on disk afterwards, so call this first and save then: a run that is killed at any
        time and resumed from the checkpoint neither loses a step of its log nor has one twice.

        Args:
            step: the last one that the parameters hold.

        Raises:
            LimpetError: the callback is closed.
        """
        self._refuse_closed()
        self._log.write(wait=True)
        return run_checkpoint(self._config, int(step))

    def close(self) -> None:
        """Wait for what is still running, write everything and end the event file."""
        self._close(succeeded=True)

    def __enter__(self) -> Self:
        self._refuse_closed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(succeeded=kind is None)

    def _close(self, succeeded: bool) -> None:
        if not self._closed:
            self._closed = True
            self._log.close(succeeded)

    def _deviated(self, params: Any, step: ArrayLike, draw: ArrayLike | None) -> Any:
        notes = ProbeNotes()
        if not self._audited:
            self._loss_notes.append(notes)
        tree = self._whole(params) if self._config.fresh_chips else params
        for section, recipe, seed in self._injected:
            key = step_key(seed, step, self._config.generator)
            if draw is not None:
                key = jax.random.fold_in(key, draw)
            # signed, because schedules subtract from it
            scale = section.schedule.compile()(jnp.asarray(step).astype(jnp.int32))
            tree = plant(recipe(key, tree, scale), recipe.paths, notes)
        return tree

    def _whole(self, params: Any) -> Any:
        if _nnx.is_module(params):
            return jax.tree.map(lambda leaf: leaf, params)  # a module of this trace, whose state may be written in it
        return params if self._nominal is None else _overlaid(self._nominal, params)

    def _build_engine(self, metric_fn: MetricFn, recipe: Recipe, strengths: Strengths) -> MonteCarlo:
        robustness = self._config.robustness

        def probed_metric(tree: Any, batch: Any) -> Any:
            return metric_fn(plant(tree, recipe.paths, self._metric_notes), batch)

        chip_fn = chip_metrics(probed_metric, strengths.recipe, self._chip_seed, self._whole, self._config.generator)
        return MonteCarlo(chip_fn, jnp.asarray(strengths.scales), chips=robustness.chips, chunk=robustness.chunk)

    def _start_evaluation(self, step: int, params: Any) -> None:
        if self._engine is None:
            raise ConfigError("nothing to evaluate: the callback was given no metric_fn")
        if self._nominal is not None:
            self._refuse_fixed(params)
        operands = (jax.tree.map(jnp.asarray, params), self._eval_batch)
        rounds = list(self._engine.rounds(operands, 0, self._config.robustness.chips))
        require_reached([self._metric_notes])
        self._log.add_evaluation(step, rounds)

    def _audit_loss(self, trained: bool) -> None:
        if self._audited or not self._injected or not (trained or self._loss_notes):
            return
        self._audited = True
        if not self._loss_notes:
            raise MismatchNotApplied(
                "a training step was logged, but callback.inject was never called, so nothing deviated: "
                "call loss_fn(callback.inject(params, step), batch) inside the jitted update"
            )
        if not any(notes.planted for notes in self._loss_notes):
            warnings.warn(
                "callback.inject was called outside jax.jit, where nothing tells whether its draws reach the loss: "
                "jit the update, or check it once with limpet.audit",
                RuntimeWarning,
                stacklevel=3,
            )
        require_reached(self._loss_notes)

    def _refuse_fixed(self, params: Any) -> None:
        """A fixed chip's deviation of a value that is trained would be trained away, or drawn on top of itself."""
        if self._fixed is None:
            return
        section, paths = self._fixed
        trained = [path for path in leaves_by_path(params)[0] if path in paths]
        if trained:
            raise PrototypeError(
                f"frozen.chip = {section.chip} deviates {listing(trained)}, which params hold as well, so training "
                f"would undo it: train other leaves (net.parameters('weights')), or let dynamic mismatch or fresh "
                f"chips fall on these"
            )

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LimpetError("this callback is closed, its event file has ended: build another for another run")


def _require_number(number: Any, name: str) -> None:
    whole = jnp.issubdtype(jnp.result_type(number), jnp.integer)
    if not whole or (not isinstance(number, Tracer) and int(number) < 0):
        raise LimpetError(f"{name} = {number!r}: allowed is an integer >= 0, it names the draw")


def _overlaid(base: dict[str, Any], top: Any) -> dict[str, Any]:
    """A nested dict with the entries of another laid over it; entries that only `top` has stay, to be refused."""
    merged = dict(base)
    for name, value in top.items():
        nested = isinstance(value, dict) and isinstance(base.get(name), dict)
        merged[name] = _overlaid(base[name], value) if nested else value
    return merged
