"""What a training loop holds on to: draws inside the jitted step, logs and evaluations outside it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np
from jax.typing import ArrayLike

from limpet import (
    Chips,
    ConfigError,
    Deviation,
    Evaluator,
    Hardware,
    LimpetError,
    Recipe,
    RobustnessCurve,
    fingerprint,
)
from limpet.checks import listing, warn_user, whole
from limpet.leaves import is_traced, unboxed
from limpet.results import BeyondLimits
from limpet.typing import MetricFn, Started

from ..config._config import Config
from ..config._hparams import hparams_of
from ..config._objective_section import MeanObjective
from ..config._plain_arguments import checked_config
from ..tensorboard import CurveWriter, start_run
from ._resume import resumed_step, run_checkpoint
from ._run_log import RunLog, adding_to


class MismatchCallback:
    """Mismatch for a training loop, by configuration: draws, log and evaluations.

    It composes three things, each of which can be used alone: the `limpet.Injection` that the jitted step closes over,
    an evaluation on virtual chips, and the run's log. Parameters stay nominal everywhere outside the loss: the
    optimizer, checkpoints and evaluation need no special case. Draws follow from (seed, step, leaf path), so a resumed
    run repeats them. The log's file is opened when the callback is entered, or when something is first written.

    A callback is for one run, whose steps rise. Each seed, and each thread, has one of its own, with its own `logdir`.

    Args:
        model: a Rockpool JAX module, a Flax nnx module, or the parameter tree; nominal, also where the configuration
            names one chip, which is drawn here.
        config: what `limpet.load_config` gives; or, for those who want no file, a `limpet.Hardware` or a recipe.
        metric_fn: `metric_fn(tree, batch)`, jittable, gives a scalar or a dict of scalars, for the robustness curve;
            for a Rockpool module `tree` holds parameters and simulation parameters, for an nnx module it is a module.
            None: no evaluation.
        eval_batch: handed to `metric_fn`; a pytree of arrays.
        resume: what `checkpoint` returned, to go on with a run that ended; None: a new run. (A run that was logged in
            the same directory before is then set aside, into a directory beside it.)
        audit: whether the loop is audited, see `limpet.LoopAudit`. False for a loop that trains without gradients, or
            takes them at the deviated values.
        **plain: what a configuration would say, beside a hardware or a recipe: `seed`, `generator`, and `training`, a
            mapping as in the file (without it, every part is drawn afresh at every step); of the section `robustness`
            `scales`, `times`, `chips`, `every_steps`, `target` and `higher_is_better`; of the section `tensorboard`
            `logdir`, `flush_steps`, `prefix` and `on_error`. The two sections may be given as mappings instead.

    Attributes:
        logdir: the TensorBoard log directory of this run.
        first_step: the first step to do: 0, or the one after the checkpoint's.
        injection: what `inject` is made of: pure, and free of the log.
        curves: the newest finished evaluation, a `RobustnessCurve` by metric name. `evaluate` measures the network
            as it is, and waits for it.

    Raises:
        PrototypeError: hardware and model do not fit.
        ConfigError: the configuration does not say what training redraws; evaluations are configured, but there is no
            `metric_fn`; or `resume` is of another configuration.

    Examples:
        >>> import jax, jax.numpy as jnp, limpet, tempfile
        >>> hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
        >>> params, x = {"w": jnp.ones(8)}, jnp.arange(8.0)
        >>> def loss_fn(params, x):
        ...     return ((params["w"] * x - x) ** 2).mean()
        >>> callback = limpet.MismatchCallback(
        ...     params,
        ...     hardware,
        ...     metric_fn=loss_fn,
        ...     eval_batch=x,
        ...     scales=[0, 1],
        ...     chips=20,
        ...     every_steps=5,
        ...     higher_is_better=False,
        ...     logdir=tempfile.mkdtemp(),
        ... )
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
        config: Config | Hardware | Recipe,
        *,
        metric_fn: MetricFn | None = None,
        eval_batch: Any = None,
        resume: Mapping[str, Any] | None = None,
        audit: bool = True,
        **plain: Any,
    ) -> None:
        config = checked_config(config, plain)
        if metric_fn is None and "robustness" in config.model_fields_set:
            raise ConfigError("robustness: evaluations are configured, but the callback was given no metric_fn")
        self._config = config
        recipe = config.recipe(model)
        self.injection = config.injection(model)
        self._fingerprint = fingerprint(recipe, model)
        self.first_step = 0 if resume is None else resumed_step(config, resume, self._fingerprint)
        self._resumed = resume is not None
        self._run: str | None = None if resume is None else resume.get("run")
        self._evaluator = None
        if metric_fn is not None:
            self._evaluator = Evaluator(
                metric_fn,
                model,
                recipe,
                batch=eval_batch,
                scales=config.robustness.over.get("scales"),
                times=config.robustness.over.get("times"),
                chips=Chips(config.robustness.chips, config.chip_seed, config.generator),
                higher_is_better=config.robustness.higher_is_better,
                trained_on=config.measured_training_chip,
            )
        self.injection.audit.told = True
        self.injection.audit.done |= not audit
        self._last_step = self.first_step - 1
        self._last_evaluated = -1  # by a call of `evaluate`
        self._lock = threading.RLock()
        self._calls = self._evaluations = 0
        self._closed = False
        self.logdir: Path = config.tensorboard.logdir
        self._log = RunLog(
            self._open_log,
            self.injection.strengths(None if config.training is None else config.training.objective.deviation),
            self._results_of,
            config.robustness.target,
            config.tensorboard.flush_steps,
            config.tensorboard.on_error,
        )

    @property
    def curves(self) -> dict[str, RobustnessCurve]:
        """The newest finished evaluation, a `RobustnessCurve` by metric name."""
        return self._log.curves

    def __repr__(self) -> str:
        drawn = listing(self.injection.paths, limit=4) if self.injection.draws else "nothing"
        return f"MismatchCallback({str(self.logdir)!r}, draws {drawn})"

    def inject(
        self,
        params: Any,
        step: ArrayLike,
        draw: ArrayLike | None = None,
        *,
        factor: ArrayLike | None = None,
        mirrored: ArrayLike = False,
        deviation: Deviation | None = None,
        sharding: Any = None,
        ranges: Mapping[str, ArrayLike] | None = None,
    ) -> Any:
        """The deviated tree for one training step; pure, to be called inside the jitted loss.

        Arguments, result and errors are those of `limpet.Injection.inject`. What is compiled with it is audited: draws
        that do not reach the loss, or that are the same at every step, are an error; see `limpet.LoopAudit`.
        """
        return self.injection.inject(
            params, step, draw, factor=factor, mirrored=mirrored, deviation=deviation, sharding=sharding, ranges=ranges
        )

    def loss(self, loss_fn: Callable[..., Any], *, teacher: Any = None) -> Callable[..., jax.Array]:
        """The loss under mismatch that the configuration's `training.objective` says, to be differentiated.

        Args:
            loss_fn: `loss_fn(tree, *args)`, giving a scalar, the mean over examples; or a tuple (loss, outputs), which
                objectives that compare outputs need: logits of shape (..., classes).
            teacher: for the objective "distillation", parameters that were trained without mismatch.

        Returns:
            `f(params, step, *args)`, a scalar; pure, to be called inside the jitted update. Without an objective it is
            `loss_fn(callback.inject(params, step), *args)`. Where input converters learn their ranges, it takes them,
            too: `f(params, step, *args, ranges=ranges)`.

        Raises:
            ConfigError: the objective needs a teacher, or takes none.
        """
        objective = MeanObjective() if self._config.training is None else self._config.training.objective
        if objective.needs_teacher != (teacher is not None):
            how = "needs a" if objective.needs_teacher else "takes no"
            raise ConfigError(
                f"training.objective: {objective.kind} {how} teacher, callback.loss(loss_fn, teacher=params)"
            )
        return objective.of(loss_fn, self, teacher)

    def step_key(self, step: ArrayLike) -> jax.Array:
        """See `limpet.Injection.step_key`."""
        return self.injection.step_key(step)

    @property
    def has_products(self) -> bool:
        """See `limpet.Injection.has_products`."""
        return self.injection.has_products

    @property
    def hardware_paths(self) -> tuple[str, ...]:
        """See `limpet.Injection.hardware_paths`."""
        return self.injection.hardware_paths

    def __call__(
        self,
        step: Any,
        params: Any,
        metrics: Mapping[str, Any] | None = None,
        *,
        ranges: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Log one training step or several, and evaluate on virtual chips when due; to be called after the update.

        Nothing here waits for the device: numbers are fetched in batches, evaluations when they are done. An evaluation
        is due when a multiple of `robustness.every_steps` was reached or passed since the last call, so that a loop may
        call once an epoch.

        Args:
            step: the number that `inject` got; of a compiled loop of steps (`lax.scan`), the numbers of its steps, an
                array of shape (steps,).
            params: nominal parameters after the update, or the nnx module.
            metrics: the metrics by name (Python numbers or device arrays), logged under `train/`: one number each, or
                for several steps an array of shape (steps,).
            ranges: the ranges of input converters that are trained beside the parameters, with which chips are
                evaluated; None for those that the hardware holds.

        Raises:
            MismatchNotApplied: at the first steps: a draw does not reach the loss or the metric, no gradient is taken
                through it, or every step met the same draw.
            MetricError: a metric cannot be logged: it is no number, has another shape, or a name that cannot be shown
                or is taken. Then nothing of these steps is logged.
            LogdirError: the log directory is full, was removed, and the like. This is told once, and then nothing more
                is logged; with `tensorboard.on_error: warn` it is a warning, and training goes on.
            LimpetError: the callback is closed, another thread is calling it, or steps are no integers that rise,
                within a call and from call to call.
        """
        with self._alone():
            steps = _checked_steps(step)
            last = int(steps[-1])
            self._require_later(int(steps[0]), self._last_step)
            self._log.add_steps(steps, {} if metrics is None else metrics)
            self.injection.audit.check(last, bool(metrics) or self._calls > 0, params)
            self._calls += 1
            every = self._config.robustness.every_steps
            due = last // every > self._last_step // every
            self._last_step = last
            if self._evaluator is not None and due:
                self._evaluate(last, params, ranges)

    def evaluate(
        self, step: int, params: Any, *, ranges: Mapping[str, ArrayLike] | None = None
    ) -> dict[str, RobustnessCurve]:
        """Evaluate on the virtual chips now, log the curves, and wait for them.

        Args:
            step: the number of the step under which they are logged, and of the read at which chips are measured: that
                of the last call of the callback or a later one, and each once.
            params: the nominal parameters, or the nnx module, to be measured.
            ranges: the ranges of input converters that were trained beside the parameters; None for those that the
                hardware holds.

        Returns:
            A `RobustnessCurve` by metric name.

        Raises:
            MismatchNotApplied: no draw reaches the metric.
            ConfigError: the callback has no `metric_fn`.
            LimpetError: the callback is closed, another thread is calling it, or the step is no such number.
        """
        with self._alone():
            number = whole("step", _held(step))
            self._require_later(number, max(self._last_step - 1, self._last_evaluated))
            self._evaluate(number, params, ranges)
            self.injection.audit.check(number, False, params)
            self._log.write(wait=True)
            self._last_evaluated = number
            return self.curves

    def checkpoint(self, step: int) -> dict[str, Any]:
        """What a checkpoint of this run keeps beside parameters and optimizer state: plain JSON.

        Everything logged so far is on disk afterwards, so call this first and save then: a run that is killed at any
        time and resumed from the checkpoint neither loses a step of its log nor has one twice.

        Args:
            step: the last one that the parameters hold.

        Raises:
            LimpetError: the callback is closed, another thread is calling it, or the step is no whole number >= 0.
        """
        with self._alone():
            number = whole("step", _held(step))
            self._log.write(wait=True)
            return run_checkpoint(self._config, number, self._fingerprint, self._run)

    def close(self) -> None:
        """Wait for what is still running, write everything and end the event file.

        Raises:
            MismatchNotApplied: steps were logged, but `inject` was never called, or some leaf's draw reached no loss.
        """
        self._close(succeeded=True)

    def __enter__(self) -> Self:
        self._refuse_closed()
        self._log.open()  # a directory that cannot be written is known before training
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._close(succeeded=True)
            return
        with adding_to(error):
            self._close(succeeded=False)

    def _close(self, succeeded: bool) -> None:
        with self._lock:  # a call of another thread comes to its end first
            if self._closed:
                return
            self._closed = True
        self._log.close(succeeded)
        if succeeded:
            self.injection.audit.close()
        self.injection.audit.done = True
        if succeeded and self._evaluator is not None and self._calls and not self._evaluations:
            warn_user(
                f"no evaluation was made: {self._calls} calls of the callback passed no multiple of "
                f"robustness.every_steps = {self._config.robustness.every_steps}; lower it, or call "
                f"callback.evaluate(step, params) at the end",
            )

    def _open_log(self) -> CurveWriter:
        config = self._config
        resume = self.first_step if self._resumed else None
        writer = start_run(self.logdir, prefix=config.tensorboard.prefix, resume=resume, run=self._run)
        self._run = writer.run
        if not self._resumed:
            writer.text("limpet/config", f"{config.describe()}\nfingerprint: {self._fingerprint}".replace("\n", "  \n"))
        writer.hparams(hparams_of(config))
        return writer

    def _evaluate(self, step: int, params: Any, ranges: Mapping[str, ArrayLike] | None) -> None:
        if self._evaluator is None:
            raise ConfigError("nothing to evaluate: the callback was given no metric_fn")
        self._evaluations += 1
        self._log.add_evaluation(step, self._evaluator.start(params, read=step, ranges=ranges))

    def _results_of(self, started: Started) -> tuple[dict[str, RobustnessCurve], BeyondLimits | None]:
        assert self._evaluator is not None
        return self._evaluator.curves(started), self._evaluator.beyond_limits(started)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse a call while another thread is within one: steps would be logged in no order, or lost."""
        if not self._lock.acquire(blocking=False):
            raise LimpetError(
                "another thread is calling this callback, and a run has one order of steps: call it from one thread, "
                "or build a callback for each thread, with a logdir of its own"
            )
        try:
            self._refuse_closed()
            yield
        finally:
            self._lock.release()

    def _require_later(self, step: int, last: int) -> None:
        if step > last:
            return
        raise LimpetError(
            f"step = {step}: a run only goes forward, and this one is at step {max(self._last_step, last)}. Hand over "
            f"all metrics of a step in one call. For another run (another seed, a cell that is run again) build "
            f"another callback, with a logdir of its own, and define the jitted update again for it",
            "step",
        )

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LimpetError("this callback is closed, its event file has ended: build another for another run")


def _held(step: Any) -> Any:
    """The number of a step, or numbers, out of a framework's box; those of a donated state are gone."""
    value = unboxed(step)
    if isinstance(value, jax.Array) and not is_traced(value) and value.is_deleted():
        raise LimpetError("step was donated to a compiled function: hand over the number that is in what it returned")
    return value


def _checked_steps(step: Any) -> np.ndarray:
    """Numbers of steps as an array of shape (steps,)."""
    given = np.atleast_1d(np.asarray(jax.device_get(_held(step))))
    if given.dtype.kind in "iu" and given.ndim == 1 and given.size and (given >= 0).all():
        steps = given.astype(np.int64)  # before differences are taken: those of unsigned integers have no sign
        if (np.diff(steps) > 0).all():
            return steps
    raise LimpetError(f"step = {step!r}: allowed is an integer >= 0, or the rising numbers of several steps")
