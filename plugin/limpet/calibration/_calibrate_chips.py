"""Calibration of measured chips."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..hardware._measured_chip import MeasuredChip
from ..leaves._adapters import adapter_of
from ..measure._chips import Chips
from ..measure._description import directions_of
from ..measure._measure_chips import checked_names
from ..measure._measurement import Measurement, divided, gathered, on_device
from ..measure._metric import ScalarMetric, of_one_number
from ..measure._monte_carlo import ahead
from ..measure._programs import compiled
from ..results._calibration import Calibration
from ..results._chip_metrics import ChipMetrics
from ..results._condition import Condition
from ._calibrate import metrics_of, results_of
from ._calibration_data import require_held_out, sample_count, stacked_batches
from ._chip_fit import AFTER, BEFORE, GIVEN, MeasuredValues, Procedure, stacked_values
from ._choices import checked_fit, chip_fit, trainable_paths
from ._resume import origin_of


def calibrate_chips(
    fit: Procedure,
    tree: Any,
    measured_chips: Sequence[MeasuredChip],
    *,
    metric_fn: ScalarMetric,
    batch: Any,
    higher_is_better: bool | None = None,
) -> Calibration[ChipMetrics]:
    """Fit a few digital parameters to each of some measured chips; as `limpet.calibrate` does to virtual ones.

    Of a leaf that it is given anew, a chip may hold factors, by which it multiplies whatever it is given; but no
    values, from which it cannot be told what it makes of others.

    Args:
        fit: the way in which each chip is fitted; see `limpet.calibrate`.
        tree: the trained network, nominal.
        measured_chips: the measured chips.
        metric_fn: the metric, `metric_fn(tree, batch)`, jittable, giving a scalar.
        batch: the data that chips are measured on, before and after; see `limpet.calibrate`.
        higher_is_better: True for an accuracy, False for a loss; see `limpet.robustness_curve`.

    Raises:
        LimpetError: `measured_chips` holds none, two of one name, or what is no `MeasuredChip`; or a chip holds values
            of a leaf that is to be given anew.
        PrototypeError: a chip does not fit the tree, or a glob matches no leaf.
        MetricError: see `limpet.calibrate`.

    Examples:
        >>> import jax.numpy as jnp, limpet, numpy as np
        >>> x = jnp.arange(6.0).reshape(6, 1)
        >>> params = {"dense": {"kernel": jnp.ones(1), "bias": jnp.zeros(())}}
        >>> def error(params, x):
        ...     return ((x @ params["dense"]["kernel"] + params["dense"]["bias"] - x[:, 0]) ** 2).mean()
        >>> chip = limpet.MeasuredChip("A3", values={"dense/kernel": np.array([1.2])})
        >>> fit = limpet.GradientFit(error, [x[::2]])
        >>> calibration = limpet.calibrate_chips(
        ...     fit, params, [chip], metric_fn=error, batch=x[1::2], higher_is_better=False
        ... )
        >>> calibration.before.of("A3") > calibration.after.of("A3")
        True
    """
    names, fit = checked_names(measured_chips), checked_fit(fit)
    metric_fn = of_one_number(metric_fn, "of measured chips one metric is taken")
    adapter = adapter_of(tree)
    adapter.require_tree(tree)
    given_anew = trainable_paths(tree, fit.trainable)
    held = stacked_values(measured_chips, adapter.leaves(tree), given_anew)
    values_of = MeasuredValues(tuple(held), tuple(path for path in held if path in given_anew))
    on_chip = chip_fit(fit, values_of, tree)
    stacked = stacked_batches(fit.batches, fit.steps)
    copied = on_device(batch)
    require_held_out(batch, stacked)
    extra = (jax.device_put(stacked), jnp.int32(fit.steps), held)
    measurement = Measurement(metric_fn, values_of.paths, on_chip, Chips(len(names)), extra, beside=on_chip.beside)
    cases = Condition(jnp.ones(1), None, jnp.zeros(1, jnp.uint32), None)  # one, which measured chips do not look at
    prepared = measurement.prepare(tree, copied, cases)
    labels, better = directions_of(metric_fn, metrics_of(prepared.names), higher_is_better)
    ((name, label),) = labels.items()
    values = gathered(ahead(prepared.rounds(0, len(names))), lambda count: None)
    if not values or next(iter(values.values())).shape[1] < len(names):
        raise KeyboardInterrupt
    operand, rebuild = divided(tree)
    metric = compiled(lambda operand, batch: metric_fn(rebuild(operand), batch), operand, copied)
    nominal = float(metric(operand, copied))
    before, after = (
        ChipMetrics(label, names, values[f"{when}{name}"][0].astype(np.float64), nominal, better[name])
        for when in (BEFORE, AFTER)
    )
    origin = origin_of(prepared, operand, stacked, batch)
    return Calibration(before, after, results_of(values, GIVEN), fit.steps, sample_count(stacked), origin)
