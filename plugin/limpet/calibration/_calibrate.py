"""Calibration: a few digital parameters fitted to each chip after it was programmed."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, overload

import jax
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from .._errors import LimpetError, warn_user
from ..draws._generator import DEFAULT_GENERATOR, Generator
from ..hardware._hardware import Hardware
from ..hardware._measured_chip import MeasuredChip
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ..measure._description import Direction
from ..measure._metric import MetricFn, NamedMetrics, ScalarMetric, function_name
from ..measure._programs import SameObject, alike, captured
from ..results._calibration import Calibration
from ..results._chip_metrics import ChipMetrics
from ..results._robustness_curve import RobustnessCurve
from ._calibrated_chips import calibrated_chips, calibrated_measured_chips
from ._chip_fit import Given, TreeOf

DEFAULT_OPTIMIZER = optax.adam(1e-2)
"""What fits a chip if nothing else is said."""


@dataclass(frozen=True, eq=False)
class GradientFit:
    """Calibration by gradients of a loss; see `Procedure`."""

    loss_fn: Callable[[Any, Any], Any]
    optimizer: optax.GradientTransformation

    @property
    def key(self) -> Hashable:
        loss = alike(self.loss_fn), tuple(map(SameObject, captured(self.loss_fn)))
        return "gradients", loss, alike(tuple(self.optimizer))

    def initial(self, given: Given) -> Any:
        return self.optimizer.init(given)

    def step(self, tree_of: TreeOf, given: Given, state: Any, batch: Any) -> tuple[Given, Any]:
        def loss(given: Given) -> jax.Array:
            tree = tree_of(given)
            value, written = adapter_of(tree).written_by(tree, lambda tree: self.loss_fn(tree, batch))
            if written:
                warn_user(
                    f"loss_fn '{function_name(self.loss_fn)}' wrote {listing(sorted(written), limit=6)}, which is "
                    f"dropped: the module is in training mode, so dropout is on and batch statistics are those of the "
                    f"batch. Call model.eval() at the beginning of the loss"
                )
            return value[0] if isinstance(value, tuple) else value

        moved, state = self.optimizer.update(jax.grad(loss)(given), state, given)
        updates = cast(Given, moved)
        return {path: value + updates[path].astype(value.dtype) for path, value in given.items()}, state


@overload
def calibrate(
    loss_fn: Callable[[Any, Any], Any],
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    metric_fn: ScalarMetric,
    batches: Iterable[Any],
    batch: Any,
    trainable: Sequence[str] = ...,
    gains: Sequence[str] = ...,
    levels: Mapping[str, ArrayLike] | None = ...,
    steps: int = ...,
    optimizer: optax.GradientTransformation = ...,
    chips: int = ...,
    sigmas: Sequence[float] | None = ...,
    scales: Sequence[float] | None = ...,
    times: Sequence[float | str] | None = ...,
    seed: int = ...,
    generator: Generator = ...,
    mesh: Mesh | None = ...,
    progress: bool | None = ...,
    higher_is_better: Direction = ...,
    resume: Any = ...,
) -> Calibration[RobustnessCurve]: ...
@overload
def calibrate(
    loss_fn: Callable[[Any, Any], Any],
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    metric_fn: NamedMetrics,
    batches: Iterable[Any],
    batch: Any,
    trainable: Sequence[str] = ...,
    gains: Sequence[str] = ...,
    levels: Mapping[str, ArrayLike] | None = ...,
    steps: int = ...,
    optimizer: optax.GradientTransformation = ...,
    chips: int = ...,
    sigmas: Sequence[float] | None = ...,
    scales: Sequence[float] | None = ...,
    times: Sequence[float | str] | None = ...,
    seed: int = ...,
    generator: Generator = ...,
    mesh: Mesh | None = ...,
    progress: bool | None = ...,
    higher_is_better: Direction = ...,
    resume: Any = ...,
) -> dict[str, Calibration[RobustnessCurve]]: ...
def calibrate(
    loss_fn: Callable[[Any, Any], Any],
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    metric_fn: MetricFn,
    batches: Iterable[Any],
    batch: Any,
    trainable: Sequence[str] = ("*/bias",),
    gains: Sequence[str] = (),
    levels: Mapping[str, ArrayLike] | None = None,
    steps: int = 200,
    optimizer: optax.GradientTransformation = DEFAULT_OPTIMIZER,
    chips: int = 100,
    sigmas: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    times: Sequence[float | str] | None = None,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    mesh: Mesh | None = None,
    progress: bool | None = None,
    higher_is_better: Direction = None,
    resume: Any = None,
) -> Calibration[RobustnessCurve] | dict[str, Calibration[RobustnessCurve]]:
    """Fit a few digital parameters to each of many virtual chips, and measure the chips before and after.

    What an analog chip holds, it holds once it was programmed; but biases, gains behind a layer and the scales of a
    normalisation are often digital, and can be set for each chip. Here each chip is drawn, and these parameters are
    trained on it by gradients, all else being as it is on the chip. Chips are calibrated together, under one compiled
    function, and so many at a time as fit into memory; a second call of like shapes compiles nothing.

    A parameter that is given anew may deviate as well, such as a bias current: then what is fitted is the nominal value
    that the chip is set to, and the chip makes of it what it makes of every value, by the same draw at every step.
    Where the hardware has limits for such a leaf, of whatever policy, a chip is never given values beyond them.

    Args:
        loss_fn: `loss_fn(tree, batch)`, jittable, gives the loss of a mean over examples, or a tuple of it and more.
        tree: the trained network, nominal: the whole tree, or a Flax nnx module.
        mismatch: who deviates on a chip, and how: the hardware, or a recipe.
        metric_fn: `metric_fn(tree, batch)`, jittable, giving a scalar or a dict of scalars.
        batches: what chips are calibrated on: batches of one shape, over which steps go again and again. Of more
            batches than steps the first are taken, so that they may come from a stream without an end.
        batch: what chips are measured on, before and after, handed to `metric_fn`; other examples than those of
            `batches`.
        trainable: path globs of the leaves that each chip is given anew.
        gains: path globs of weights of two axes or more, the last of which counts a layer's outputs: each output gets
            a gain, which is trained as well. It stands for a digital factor behind the crossbar: the chip's weights are
            multiplied by it, whatever they deviate by.
        levels: where a chip can be given some values alone: by path glob of trainable leaves, these values. Those
            beyond the hardware's limits are left out. What was fitted is rounded to the nearest before the chip is
            measured, and so is what it was given before. For a DynapSim:
            `{"*/Itau_mem": limpet.dynapse.bias_currents("Itau_mem")}`.
        steps: how many steps each chip is fitted for.
        optimizer: from optax. Where parameters are currents, of picoamperes say, take steps relative to them:
            `optax.chain(optax.scale_by_adam(eps=1e-30), optax.scale_by_trust_ratio(), optax.scale(-0.01))`.
        chips: number of virtual chips.
        sigmas: as of `limpet.robustness_curve`; give these, `scales` or `times`. Every chip is calibrated at each.
        scales: likewise.
        times: likewise: a chip is calibrated at each of these times since it was programmed.
        seed: of the chips.
        generator: what they are drawn with.
        mesh: devices that share the chips.
        progress: show a bar; None: where standard error is a terminal.
        higher_is_better: see `limpet.robustness_curve`.
        resume: what an earlier call of the same things gave, perhaps one that was interrupted: its chips are not
            calibrated again.

    Returns:
        A `Calibration`; a dict of them by name where the metric gives a dict. After Ctrl-C: of the chips calibrated so
        far, with a warning.

    Raises:
        MetricError: no batch, batches of several shapes, `batch` holds what chips are calibrated on, or as of
            `limpet.robustness_curve`.
        PrototypeError: a glob matches no leaf, or one that cannot be given anew.
        LimpetError: an argument is none of those allowed.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> x = jax.random.normal(jax.random.key(0), (600, 8))
        >>> data = x, x.sum(axis=1)
        >>> params = {"dense": {"kernel": jnp.ones(8), "bias": jnp.zeros(())}}
        >>> def loss(params, batch):
        ...     return ((batch[0] ** 2 @ params["dense"]["kernel"] + params["dense"]["bias"] - 8) ** 2).mean()
        >>> hardware = limpet.Hardware(crossbar=limpet.Part("*/kernel", limpet.Gaussian(sigma=0.3)))
        >>> calibration = limpet.calibrate(
        ...     loss,
        ...     params,
        ...     hardware,
        ...     metric_fn=loss,
        ...     batches=[(x[:300], data[1][:300])],
        ...     batch=(x[300:], data[1][300:]),
        ...     optimizer=optax.sgd(0.4),
        ...     steps=20,
        ...     chips=50,
        ...     scales=[1],
        ...     higher_is_better=False,
        ... )
        >>> bool(calibration.after.mean()[0] < calibration.before.mean()[0])
        True
        >>> calibration.given["dense/bias"].shape
        (1, 50)
    """
    _require_optimizer(optimizer)
    return calibrated_chips(
        GradientFit(loss_fn, optimizer),
        tree,
        mismatch,
        metric_fn=metric_fn,
        batches=batches,
        batch=batch,
        trainable=trainable,
        gains=gains,
        levels=levels,
        steps=steps,
        chips=chips,
        sigmas=sigmas,
        scales=scales,
        times=times,
        seed=seed,
        generator=generator,
        mesh=mesh,
        progress=progress,
        higher_is_better=higher_is_better,
        resume=resume,
    )


def calibrate_chips(
    loss_fn: Callable[[Any, Any], Any],
    tree: Any,
    chips: Sequence[MeasuredChip],
    *,
    metric_fn: ScalarMetric,
    batches: Iterable[Any],
    batch: Any,
    trainable: Sequence[str] = ("*/bias",),
    gains: Sequence[str] = (),
    levels: Mapping[str, ArrayLike] | None = None,
    steps: int = 200,
    optimizer: optax.GradientTransformation = DEFAULT_OPTIMIZER,
    higher_is_better: Direction = None,
) -> Calibration[ChipMetrics]:
    """Fit a few digital parameters to each of some measured chips; as `limpet.calibrate` does to virtual ones.

    Args:
        loss_fn: see `limpet.calibrate`.
        tree: likewise.
        chips: the measured ones.
        metric_fn: likewise; it gives one scalar.
        batches: likewise.
        batch: likewise.
        trainable: likewise. Of such a leaf, a chip may hold factors, by which it multiplies whatever it is given; but
            no values, from which it cannot be told what it makes of others.
        gains: likewise.
        levels: likewise.
        steps: likewise.
        optimizer: likewise.
        higher_is_better: likewise.

    Raises:
        LimpetError: `chips` holds none, two of one name, or what is no `MeasuredChip`; or a chip holds values of a leaf
            that is to be given anew.
        PrototypeError: a chip does not fit the tree, or a glob matches no leaf.
        MetricError: see `limpet.calibrate`.

    Examples:
        >>> import jax.numpy as jnp, limpet, numpy as np
        >>> x = jnp.arange(6.0).reshape(6, 1)
        >>> params = {"dense": {"kernel": jnp.ones(1), "bias": jnp.zeros(())}}
        >>> def error(params, x):
        ...     return ((x @ params["dense"]["kernel"] + params["dense"]["bias"] - x[:, 0]) ** 2).mean()
        >>> chip = limpet.MeasuredChip("A3", values={"dense/kernel": np.array([1.2])})
        >>> calibration = limpet.calibrate_chips(
        ...     error, params, [chip], metric_fn=error, batches=[x[::2]], batch=x[1::2], higher_is_better=False
        ... )
        >>> calibration.before.of("A3") > calibration.after.of("A3")
        True
    """
    _require_optimizer(optimizer)
    return calibrated_measured_chips(
        GradientFit(loss_fn, optimizer),
        tree,
        chips,
        metric_fn=metric_fn,
        batches=batches,
        batch=batch,
        trainable=trainable,
        gains=gains,
        levels=levels,
        steps=steps,
        higher_is_better=higher_is_better,
    )


def _require_optimizer(optimizer: Any) -> None:
    if not callable(getattr(optimizer, "init", None)) or not callable(getattr(optimizer, "update", None)):
        raise LimpetError(f"optimizer = {optimizer!r}: give one of optax, such as optax.adam(1e-2)")
