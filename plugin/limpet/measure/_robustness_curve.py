"""Robustness curves: a metric of a network over sigma, on many virtual chips."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .._errors import MetricError, warn_user
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number
from ..hardware._condition import Condition
from ..hardware._fingerprint import shapes_of
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..results._robustness_curve import RobustnessCurve
from ._description import Description, Direction
from ._limits_report import require_within
from ._measurement import Chip, Measurement, check_count, checked_batch, checked_recipe, gathered
from ._metric import UNNAMED, MetricFn, NamedMetrics, ScalarMetric
from ._monte_carlo import ahead
from ._precision import Precision
from ._progress import progress_bar
from ._strengths import Strengths

FIRST_CHIPS = 64
"""With a `Precision`, the interval is looked at for the first time after so many chips."""


def curve_measurement(
    metric_fn: MetricFn,
    recipe: Recipe,
    seed: int,
    generator: Generator = DEFAULT_GENERATOR,
    antithetic: bool = False,
    mesh: Mesh | None = None,
) -> Measurement:
    """The measurement under a curve; see `Strengths.cases`."""

    def on_chip(metric: Callable[[Any], Any], chip: Chip, tree: Any, case: Mapping[str, jax.Array]) -> Any:
        return metric(recipe(chip.key, tree, Condition(case["scale"], case.get("time"), mirrored=chip.mirrored)))

    return Measurement(metric_fn, recipe, on_chip, "curve", seed, generator, antithetic, mesh)


@overload
def robustness_curve(
    metric_fn: ScalarMetric,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    sigmas: Sequence[float] | None = ...,
    scales: Sequence[float] | None = ...,
    times: Sequence[float | str] | None = ...,
    chips: int | Precision = ...,
    seed: int = ...,
    generator: Generator = ...,
    batch: Any = ...,
    batches: Iterable[Any] | None = ...,
    count_of: Callable[[Any], float] | None = ...,
    antithetic: bool = ...,
    mesh: Mesh | None = ...,
    progress: bool | None = ...,
    higher_is_better: Direction = ...,
) -> RobustnessCurve: ...
@overload
def robustness_curve(
    metric_fn: NamedMetrics,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    sigmas: Sequence[float] | None = ...,
    scales: Sequence[float] | None = ...,
    times: Sequence[float | str] | None = ...,
    chips: int | Precision = ...,
    seed: int = ...,
    generator: Generator = ...,
    batch: Any = ...,
    batches: Iterable[Any] | None = ...,
    count_of: Callable[[Any], float] | None = ...,
    antithetic: bool = ...,
    mesh: Mesh | None = ...,
    progress: bool | None = ...,
    higher_is_better: Direction = ...,
) -> dict[str, RobustnessCurve]: ...
def robustness_curve(
    metric_fn: MetricFn,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    sigmas: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    times: Sequence[float | str] | None = None,
    chips: int | Precision = 100,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    batch: Any = None,
    batches: Iterable[Any] | None = None,
    count_of: Callable[[Any], float] | None = None,
    antithetic: bool = False,
    mesh: Mesh | None = None,
    progress: bool | None = None,
    higher_is_better: Direction = None,
) -> RobustnessCurve | dict[str, RobustnessCurve]:
    """Measure a network on many virtual chips.

    Chip c is the same chip at every strength, in every call and for every network on the same hardware (common random
    numbers): curves differ because networks do, and `limpet.compare` can pair them.

    What is compiled is kept: a second call with the same metric function compiles nothing, whatever the number of
    chips, the seed, the values of the strengths and the values of the network are. As under `jax.jit`, arrays that the
    metric captures instead of taking them from its arguments are constants, and must not be changed in place.

    Args:
        metric_fn: `metric_fn(tree, batch)`, jittable, giving a scalar or a dict of scalars.
        tree: the whole tree of nominal values, or a Flax nnx module.
        mismatch: who deviates, and how: a recipe, or the hardware, which is laid over this very tree. (A part of a tree
            is refused by the recipe of the whole, `hardware.on(params)`; the hardware itself cannot tell.)
        sigmas: strengths as relative standard deviations, the same for every leaf; finite and >= 0, in any order, may
            repeat. Give these, `scales` or `times`.
        scales: strengths as multiples of what the hardware says.
        times: the same chips at several times since they were programmed, at scale 1: seconds, or texts such as
            "1 day". For hardware that knows time (`limpet.Drift`, `limpet.ReadNoise`).
        chips: number of virtual chips; or a `limpet.Precision`, to draw on until an interval is narrow enough.
        seed: of the chips.
        generator: what they are drawn with, "fast" or "threefry2x32".
        batch: handed to `metric_fn`; a pytree of arrays.
        batches: in place of `batch`, the batches of a test set larger than memory: the metric is the mean over them,
            each weighted by its count. Batches of one size compile once.
        count_of: from a batch to its count, a number > 0; None: the length of the leading axis, which all arrays of a
            batch that have axes must then share.
        antithetic: draw chips in pairs of opposite sign, which cancels what is linear in the deviation: chips 2k and
            2k + 1 of the curve are virtual chip k and its mirror image.
        mesh: a JAX mesh whose devices share the chips, perhaps those of several processes; same values.
        progress: show a bar; None: where standard error is a terminal.
        higher_is_better: True for an accuracy, False for a loss; by name where the metric gives a dict of both. None:
            True, but a metric whose name speaks of a loss or an error is refused, because which chip is the worst hangs
            on it.

    Returns:
        A `RobustnessCurve`; a dict of them by name where the metric gives a dict. After Ctrl-C: the chips evaluated so
        far, with a warning (not with `batches`, where no chip is complete before the last of them).

    Raises:
        MetricError: no strength, no chip, an empty batch or one whose count is not clear, a metric that gives no scalar
            or cannot be traced, a missing direction, or options that contradict.
        StrengthError: a strength that is negative, NaN or infinite.
        PrototypeError: recipe and tree do not fit, or the tree lacks leaves that deviate.
        MismatchNotApplied: the metric does not depend on the draw.
        LimpetError: seed, generator or mismatch is not one of those allowed; or values of a chip are beyond limits
            whose policy is "error".

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(100)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("w", True)), limpet.Gaussian(sigma=0.1))
        >>> def mean(tree, _):
        ...     return tree["w"].mean()
        >>> print(robustness_curve(mean, params, mismatch, sigmas=[0, 0.5], chips=200))
        mean on 200 virtual chips of seed 0 (higher is better)
        sigma      mean  5th percentile     worst  failed
            0         1               1         1       0
          0.5     1.00...
    """
    precision = chips if isinstance(chips, Precision) else None
    budget = chips.at_most if isinstance(chips, Precision) else check_count("chips", chips)
    seed, generator = checked_number(seed, "seed"), checked_generator(generator)
    _check_options(antithetic and budget % 2 == 1, batch, batches, count_of, precision)
    recipe = checked_recipe(mismatch, tree)
    strengths = Strengths.of(recipe, sigmas, scales, times)
    require_within(strengths.recipe, tree, strengths.scales, budget, seed, generator, antithetic)
    measurement = curve_measurement(metric_fn, strengths.recipe, seed, generator, antithetic, mesh)
    describe = Description(metric_fn, strengths, shapes_of(tree), seed, generator, antithetic, higher_is_better)
    on_device = jax.device_put(checked_batch(batch))  # once, not in every round
    if batches is None:
        prepared = measurement.prepare(tree, on_device, strengths.cases)
        describe.require_directions(prepared.metrics)

        def values_of(first: int, count: int, advance: Callable[[int], None]) -> dict[str, np.ndarray]:
            return gathered(ahead(prepared.rounds(first, count)), advance)
    else:

        def values_of(first: int, count: int, advance: Callable[[int], None]) -> dict[str, np.ndarray]:
            return _mean_over_batches(
                measurement, describe, tree, batches, count_of or _leading_axis, first, count, advance
            )

    goal = min(budget, FIRST_CHIPS) if precision is not None else budget
    values: dict[str, np.ndarray] = {}
    with progress_bar("virtual chips", budget, progress) as advance:
        while True:
            done = _count(values)
            new = values_of(done, goal - done, advance)
            if antithetic:  # an interrupt may have parted a pair
                new = {name: array[:, : array.shape[1] // 2 * 2] for name, array in new.items()}
            if not _count(new) and not done:
                raise KeyboardInterrupt
            values = _joined(values, new)
            curves = describe.curves(values)
            interrupted = _count(values) < goal
            if interrupted or goal == budget or precision is None or all(map(precision.reached_by, curves.values())):
                break
            goal = min(budget, 2 * goal)
    if interrupted:
        warn_user(f"interrupted: the curve holds the {_count(values)} chips evaluated so far")
    return next(iter(curves.values())) if UNNAMED in values else curves


def _mean_over_batches(
    measurement: Measurement,
    describe: Description,
    tree: Any,
    batches: Iterable[Any],
    count_of: Callable[[Any], float],
    first: int,
    chips: int,
    advance: Callable[[int], None],
) -> dict[str, np.ndarray]:
    sums: dict[str, np.ndarray] = {}
    total = 0.0
    for batch in batches:
        count = _checked_weight(count_of(checked_batch(batch)))
        prepared = measurement.prepare(tree, jax.device_put(batch), describe.strengths.cases)
        describe.require_directions(prepared.metrics)  # rather than when everything has been measured
        values = gathered(ahead(prepared.rounds(first, chips)), lambda count: None)
        if _count(values) < chips:
            raise KeyboardInterrupt
        for name, array in values.items():
            sums[name] = sums.get(name, 0.0) + count * array.astype(np.float64)
        total += count
    if not total:
        raise MetricError("batches: there is none, so there is nothing to measure")
    advance(chips)
    return {name: array / total for name, array in sums.items()}


def _joined(values: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The values of some chips and of those that follow them, either of which may be empty."""
    if not values or not new:
        return values or new
    return {name: np.concatenate([values[name], new[name]], axis=1) for name in new}


def _count(values: Mapping[str, np.ndarray]) -> int:
    """How many chips some values are of."""
    return next((array.shape[1] for array in values.values()), 0)


def _check_options(
    odd_pairs: bool,
    batch: Any,
    batches: Iterable[Any] | None,
    count_of: Callable[[Any], float] | None,
    precision: Precision | None,
) -> None:
    if odd_pairs:
        raise MetricError("antithetic chips come in pairs: give an even number of chips")
    if batch is not None and batches is not None:
        raise MetricError("give either batch or batches, not both")
    if count_of is not None and batches is None:
        raise MetricError("count_of is for batches: a single batch needs no count")
    if precision is not None and batches is not None and iter(batches) is batches:
        raise MetricError("with a Precision the batches may be gone over more than once: give a list or the like")


def _leading_axis(batch: Any) -> int:
    """The count of a batch: the length of the leading axis of all its arrays; 1 where none has an axis."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(batch) if np.shape(leaf)]
    lengths = {shape[0] for shape in shapes}
    if len(lengths) > 1:
        raise MetricError(
            f"batches: how many examples a batch holds is not clear, its arrays have shapes "
            f"{', '.join(map(str, shapes))}: give count_of, such as lambda batch: len(batch['labels'])"
        )
    return lengths.pop() if lengths else 1


def _checked_weight(count: Any) -> float:
    number = np.ndim(count) == 0 and jnp.issubdtype(jnp.result_type(count), jnp.number)
    if not number or not 0 < float(count) < np.inf:
        raise MetricError(f"count_of gave {count!r}: allowed is a finite number > 0")
    return float(count)
