"""A metric on measured chips, beside virtual ones."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .._checked import shown
from .._errors import LimpetError
from ..draws._keys import typed_key
from ..hardware._checked_recipe import checked_recipe
from ..hardware._hardware import Hardware
from ..hardware._measured_chip import MeasuredChip
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..results._chip_metrics import ChipMetrics
from ..results._condition import UNCHANGED, Condition, known_condition
from ..results._robustness_curve import RobustnessCurve
from ._chips import HUNDRED, Chips, counted_chips
from ._description import Direction, directions_of
from ._measurement import divided, on_device
from ._metric import MetricFn, ScalarMetric, named_scalars, of_one_number
from ._programs import compiled
from ._robustness_curve import robustness_curves


def measure_chips(
    metric_fn: ScalarMetric,
    tree: Any,
    measured_chips: Sequence[MeasuredChip],
    mismatch: Recipe | Hardware | None = None,
    *,
    condition: Condition | float = UNCHANGED,
    chips: int | Chips = HUNDRED,
    batch: Any = None,
    higher_is_better: bool | None = None,
) -> ChipMetrics:
    """Measure a network on chips from a bench, beside virtual chips of the hardware that was assumed.

    A measured chip is as strongly off as it is: it has no scale, and so no place on a curve over strength. It stands
    beside virtual chips under one condition: the hardware as it was said to be, at the time since programming
    at which the chips were measured. Where the hardware has products, measured chips compute them as well, as
    `limpet.on_chip` says: with the weights that were measured, the hardware's converters and noise, and no gains and
    offsets of their own.

    Args:
        metric_fn: the metric, `metric_fn(tree, batch)`, jittable, giving a scalar.
        tree: the whole tree of nominal values, or a Flax nnx module.
        measured_chips: the measured ones.
        mismatch: the hardware that was assumed, or its recipe; None for measured chips alone.
        condition: the condition of the virtual chips: a `limpet.Condition`, or a number, which is the scale.
        chips: the virtual chips: their number, or `limpet.Chips`.
        batch: the argument of the metric; a pytree of arrays.
        higher_is_better: True, False or None; see `limpet.robustness_curve`.

    Raises:
        LimpetError: `measured_chips` holds none, two of one name, or what is no `MeasuredChip`; or virtual chips are
            said without `mismatch`.
        PrototypeError: a chip does not fit the tree.
        MetricError: the same as of `limpet.robustness_curve`.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"dense": {"bias": jnp.ones(4)}}
        >>> chip = limpet.MeasuredChip("A3", {"dense/bias": np.array([0.9, 1.0, 1.1, 1.3])})
        >>> hardware = limpet.Hardware(biases=limpet.Part("*/bias", limpet.Gaussian(sigma=0.1)))
        >>> def error(tree, _):
        ...     return ((tree["dense"]["bias"] - 1) ** 2).mean()
        >>> print(measure_chips(error, params, [chip], hardware, chips=200, higher_is_better=False))
        error on 1 measured chip, beside 200 virtual ones of seed 0 (lower is better)
        chip                 error  virtual chips no better
        nominal                  0
        A3                  0.0275                       4%
        virtual, mean     0.00999...
        virtual, worst     0.0439...
    """
    metric_fn = of_one_number(metric_fn, "limpet.measure_chips_by_metric gives a dict of tables")
    tables = measure_chips_by_metric(
        metric_fn,
        tree,
        measured_chips,
        mismatch,
        condition=condition,
        chips=chips,
        batch=batch,
        higher_is_better=higher_is_better,
    )
    return next(iter(tables.values()))


def measure_chips_by_metric(
    metric_fn: MetricFn,
    tree: Any,
    measured_chips: Sequence[MeasuredChip],
    mismatch: Recipe | Hardware | None = None,
    *,
    condition: Condition | float = UNCHANGED,
    chips: int | Chips = HUNDRED,
    batch: Any = None,
    higher_is_better: Direction = None,
) -> dict[str, ChipMetrics]:
    """The tables that `limpet.measure_chips` gives, by name, for a metric that gives a dict of scalars.

    Arguments and errors are those of `limpet.measure_chips`; `higher_is_better` may be given by name.
    """
    names, chips = checked_names(measured_chips), counted_chips(chips, "measure_chips")
    condition = known_condition(condition)
    if mismatch is None and (chips != HUNDRED or condition != UNCHANGED):
        raise LimpetError("chips, condition: virtual chips are of a hardware; give it, or leave these out")
    adapter = adapter_of(tree)
    adapter.require_tree(tree)
    batch = on_device(batch)
    recipe = None if mismatch is None else checked_recipe(mismatch, tree)
    nominal, rebuild = divided(tree)

    def measured(operand: dict[str, jax.Array], batch: Any) -> dict[str, jax.Array]:
        on_chip = rebuild(operand)  # within the trace: the state of an nnx module from outside could not be written
        return adapter.written_by(on_chip, lambda tree: named_scalars(metric_fn, tree, batch))[0]

    metric = compiled(measured, nominal, batch)
    results = [jax.device_get(metric(nominal, batch))]
    if recipe is not None and recipe.has_products:
        results += [_with_products(metric_fn, tree, chip, recipe, condition, chips, batch) for chip in measured_chips]
    else:
        results += [jax.device_get(metric(divided(chip.on(tree))[0], batch)) for chip in measured_chips]
    labels, better = directions_of(metric_fn, results[0], higher_is_better)
    curves: dict[str, RobustnessCurve] = {}
    if recipe is not None:
        curves = robustness_curves(
            metric_fn,
            tree,
            recipe,
            scales=[float(np.asarray(condition.scale))],
            condition=condition._replace(scale=1.0),
            chips=chips,
            batch=batch,
            higher_is_better=higher_is_better,
        )
    return {
        label: ChipMetrics(
            label,
            names,
            np.array([result[name] for result in results[1:]], np.float64),
            float(results[0][name]),
            better[name],
            curves.get(label),
        )
        for name, label in labels.items()
    }


def _with_products(
    metric_fn: MetricFn,
    tree: Any,
    chip: MeasuredChip,
    recipe: Recipe,
    condition: Condition,
    chips: Chips,
    batch: Any,
) -> dict[str, Any]:
    """The metric on a measured chip whose arrays compute the products of a hardware."""
    nominal, rebuild = divided(tree)

    def measured(operand: dict[str, jax.Array], data: jax.Array, batch: Any) -> dict[str, jax.Array]:
        drawn = chip.with_products(recipe, typed_key(data, chips.generator), rebuild(operand), condition.checked())
        return adapter_of(drawn).written_by(drawn, lambda tree: named_scalars(metric_fn, tree, batch))[0]

    data = jax.random.key_data(chip.key(chips.seed, chips.generator))
    return jax.device_get(compiled(measured, nominal, data, batch)(nominal, data, batch))


def checked_names(chips: Sequence[MeasuredChip]) -> tuple[str, ...]:
    """The names of measured chips.

    Raises:
        LimpetError: there is no chip, two have one name, or one is no `MeasuredChip`.
    """
    if isinstance(chips, MeasuredChip) or not isinstance(chips, Sequence) or not chips:
        raise LimpetError(f"measured_chips = {shown(chips)}: give a list of limpet.MeasuredChip")
    for place, chip in enumerate(chips):
        if not isinstance(chip, MeasuredChip):
            raise LimpetError(
                f"measured_chips[{place}] = {shown(chip)}: allowed is a limpet.MeasuredChip; virtual chips are "
                f"measured beside them where the hardware is given, and alone by limpet.robustness_curve"
            )
    names = tuple(chip.name for chip in chips)
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise LimpetError(f"measured_chips: {', '.join(repeated)} stands there twice; give each a name of its own")
    return names
