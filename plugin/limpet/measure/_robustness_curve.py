"""Robustness curves: a metric of a network over sigma, on many virtual chips."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._errors import MetricError, warn_user
from ..hardware._checked_recipe import checked_recipe
from ..hardware._fingerprint import shapes_of
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ..results._robustness_curve import RobustnessCurve
from ._chips import HUNDRED, Chips, chips_of
from ._description import Description, Direction
from ._limits_report import require_within
from ._measurement import Chip, Measurement, gathered, on_device
from ._metric import MetricFn, ScalarMetric, of_one_number
from ._monte_carlo import Prepared, ahead
from ._precision import Precision
from ._programs import form_of
from ._progress import progress_bar
from ._strengths import Strengths

FIRST_CHIPS = 64
"""With a `Precision`, the interval is looked at for the first time after so many chips."""


def curve_measurement(
    metric_fn: MetricFn, recipe: Recipe, chips: Chips, ranges: Mapping[str, ArrayLike] | None = None
) -> Measurement:
    """The measurement under a curve; see `Strengths.cases`, and for ranges `limpet.Recipe`."""

    def on_chip(metric: Callable[[Any], Any], chip: Chip, tree: Any, case: Condition, ranges: Any) -> Any:
        return metric(recipe(chip.key, tree, chip.under(case), ranges=ranges))

    return Measurement(metric_fn, recipe.paths, on_chip, chips, ranges, recipe=recipe)


def robustness_curve(
    metric_fn: ScalarMetric,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    sigmas: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    times: Sequence[float | str] | None = None,
    condition: Condition | float = UNCHANGED,
    chips: int | Precision | Chips = HUNDRED,
    batch: Any = None,
    batches: Iterable[Any] | None = None,
    count_of: Callable[[Any], float] | None = None,
    higher_is_better: bool | None = None,
) -> RobustnessCurve:
    """Measure a network on many virtual chips.

    Chip c is the same chip at every strength, in every call and for every network on the same hardware (common random
    numbers): curves differ because networks do, and `limpet.compare` can pair them.

    The metric is traced anew at each call, so that it does what it would do now, and what is compiled is found by what
    was traced: a second call compiles nothing, whatever the number of chips, the seed, the strengths, and the values of
    the network and of arrays that the metric captures are.

    Args:
        metric_fn: the metric, `metric_fn(tree, batch)`, jittable, giving a scalar.
        tree: the whole tree of nominal values, or a Flax nnx module.
        mismatch: the hardware, which is laid over this very tree; or a recipe, which says who deviates, and how. (A
            part of a tree is refused by the recipe of the whole, `hardware.on(params)`; the hardware itself cannot
            tell.)
        sigmas: strengths as relative standard deviations, the same for every leaf; finite and >= 0, in any order, may
            repeat. Give these, `scales` or `times`.
        scales: strengths as multiples of what the hardware says.
        times: the times since programming at which the same chips are measured: seconds, or texts such as "1 day". For
            hardware that knows time (`limpet.Drift`, `limpet.ReadNoise`).
        condition: the condition of the chips, of which sigmas and scales vary the scale, and times the time: a
            `limpet.Condition`; or a number, which is the scale of a curve over times.
        chips: the virtual chips: their number; a `limpet.Precision`, to draw on until an interval is narrow enough; or
            `limpet.Chips`, which names their seed and generator, and devices that share them.
        batch: the argument of the metric; a pytree of arrays.
        batches: the batches of a test set larger than memory, in place of `batch`: the metric is the mean over them,
            each weighted by its count. Batches of one size compile once.
        count_of: a function from a batch to its count, a number > 0; None for the length of the leading axis, which all
            arrays of a batch that have axes must then share.
        higher_is_better: True for an accuracy, False for a loss. None is True, but a metric whose name speaks of a loss
            or an error is refused, because which chip is the worst hangs on it.

    Returns:
        A curve. After Ctrl-C: the chips evaluated so far, with a warning (not with `batches`, where no chip is complete
        before the last of them).

    Raises:
        MetricError: there is no strength, no chip, an empty batch or one whose count is not clear, a metric that gives
            no scalar or cannot be traced, or a missing direction; or options contradict.
        StrengthError: a strength is negative, NaN or infinite.
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
        sigma      mean  5th percentile     worst  no number
            0         1               1         1          0
          0.5     1.00...
    """
    curves = robustness_curves(
        of_one_number(metric_fn, "limpet.robustness_curves gives a dict of curves"),
        tree,
        mismatch,
        sigmas=sigmas,
        scales=scales,
        times=times,
        condition=condition,
        chips=chips,
        batch=batch,
        batches=batches,
        count_of=count_of,
        higher_is_better=higher_is_better,
    )
    return next(iter(curves.values()))


def robustness_curves(
    metric_fn: MetricFn,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    sigmas: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    times: Sequence[float | str] | None = None,
    condition: Condition | float = UNCHANGED,
    chips: int | Precision | Chips = HUNDRED,
    batch: Any = None,
    batches: Iterable[Any] | None = None,
    count_of: Callable[[Any], float] | None = None,
    higher_is_better: Direction = None,
) -> dict[str, RobustnessCurve]:
    """The curves that `limpet.robustness_curve` gives, by name, for a metric that gives a dict of scalars.

    Arguments and errors are those of `limpet.robustness_curve`; `higher_is_better` may be given by name. A metric that
    gives one scalar stands under the name of its function.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(100)}
        >>> hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
        >>> def moments(tree, _):
        ...     return {"mean": tree["w"].mean(), "std": tree["w"].std()}
        >>> list(robustness_curves(moments, params, hardware, scales=[1], chips=10))
        ['mean', 'std']
    """
    recipe = checked_recipe(mismatch, tree)
    strengths = Strengths.of(recipe, sigmas, scales, times, condition)
    return curves_over(strengths, metric_fn, tree, chips_of(chips), batch, batches, count_of, higher_is_better)


def curves_over(
    strengths: Strengths,
    metric_fn: MetricFn,
    tree: Any,
    chips: Chips,
    batch: Any,
    batches: Iterable[Any] | None,
    count_of: Callable[[Any], float] | None,
    higher_is_better: Direction,
) -> dict[str, RobustnessCurve]:
    """The curves over some strengths; see `robustness_curves`."""
    precision, budget = chips.precision, chips.most
    _check_options(batch, batches, count_of, precision)
    require_within(strengths.recipe, tree, strengths.drawn, chips)
    measurement = curve_measurement(metric_fn, strengths.recipe, chips)
    describe = Description(metric_fn, strengths, shapes_of(tree), chips, higher_is_better)
    if batches is None:
        prepared = measurement.prepare(tree, on_device(batch), strengths.cases())
        describe.require_directions(prepared.names)

        def values_of(first: int, count: int, advance: Callable[[int], None]) -> dict[str, np.ndarray]:
            return gathered(ahead(prepared.rounds(first, count)), advance)
    else:

        def values_of(first: int, count: int, advance: Callable[[int], None]) -> dict[str, np.ndarray]:
            return _mean_over_batches(
                measurement, describe, tree, batches, count_of or _leading_axis, first, count, advance
            )

    goal = min(budget, FIRST_CHIPS) if precision is not None else budget
    values: dict[str, np.ndarray] = {}
    with progress_bar("virtual chips", budget, chips.progress) as advance:
        while True:
            done = _count(values)
            new = values_of(done, goal - done, advance)
            if chips.antithetic:  # an interrupt may have parted a pair
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
    elif precision is not None:
        for curve in curves.values():
            if words := precision.shortcomings(curve):
                warn_user(words)
    return curves


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
    found: dict[Any, Prepared] = {}
    total = 0.0
    for batch in batches:
        copied = on_device(batch)
        count = _checked_weight(count_of(batch))
        form = jax.tree.structure(copied), tuple(map(form_of, jax.tree.leaves(copied)))
        if form not in found:
            found[form] = measurement.prepare(tree, copied, describe.strengths.cases())
        prepared = measurement.of(found[form], copied)
        describe.require_directions(prepared.names)  # rather than when everything has been measured
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
    batch: Any,
    batches: Iterable[Any] | None,
    count_of: Callable[[Any], float] | None,
    precision: Precision | None,
) -> None:
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
