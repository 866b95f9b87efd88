"""Calibration: a few digital parameters fitted to each of many virtual chips after it was programmed."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import warn_user
from ..hardware._checked_recipe import checked_recipe
from ..hardware._fingerprint import shapes_of
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..measure._chips import HUNDRED, Chips, counted_chips
from ..measure._description import Description, Direction
from ..measure._limits_report import require_within
from ..measure._measurement import Measurement, divided, gathered, on_device
from ..measure._metric import MetricFn, ScalarMetric, of_one_number
from ..measure._monte_carlo import ahead
from ..measure._progress import progress_bar
from ..measure._strengths import Strengths
from ..results._calibration import Calibration
from ..results._condition import UNCHANGED, Condition
from ..results._robustness_curve import RobustnessCurve
from ._calibration_data import require_held_out, sample_count, stacked_batches
from ._chip_fit import AFTER, BEFORE, GIVEN, Procedure, VirtualValues
from ._choices import checked_fit, chip_fit
from ._resume import Values, held_by, origin_of


def calibrate(
    fit: Procedure,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    metric_fn: ScalarMetric,
    batch: Any,
    sigmas: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    times: Sequence[float | str] | None = None,
    condition: Condition | float = UNCHANGED,
    chips: int | Chips = HUNDRED,
    higher_is_better: bool | None = None,
    resume: Any = None,
) -> Calibration[RobustnessCurve]:
    """Fit a few digital parameters to each of many virtual chips, and measure the chips before and after.

    Each chip is drawn, and the parameters that a fit names are fitted on it, all else being as it is on the chip. Chips
    are calibrated together, under one compiled function, and so many at a time as fit into memory; a second call of
    like things compiles nothing. Where reads are noisy, each step meets a read of its own, and the chips are measured,
    before and after, at the read of the condition, which no step has met.

    Args:
        fit: the way in which each chip is fitted: a `limpet.GradientFit`, or a `limpet.StatisticsFit`.
        tree: the trained network, nominal: the whole tree, or a Flax nnx module.
        mismatch: the hardware, or a recipe, which says who deviates on a chip, and how.
        metric_fn: the metric, `metric_fn(tree, batch)`, jittable, giving a scalar.
        batch: the data that chips are measured on, before and after, handed to `metric_fn`; other examples than those
            that they are calibrated on.
        sigmas: relative standard deviations, at each of which every chip is calibrated; see `limpet.robustness_curve`.
            Give these, `scales` or `times`.
        scales: multiples of what the hardware says, at each of which every chip is calibrated.
        times: times since a chip was programmed, at each of which it is calibrated.
        condition: the condition of the chips, of which sigmas and scales vary the scale, and times the time.
        chips: the virtual chips: their number, or `limpet.Chips`.
        higher_is_better: True for an accuracy, False for a loss; see `limpet.robustness_curve`.
        resume: the result of an earlier call of the very same things, perhaps one that was interrupted: its chips are
            not calibrated again. A calibration of other values, data or functions is refused.

    Returns:
        A `Calibration`. After Ctrl-C: of the chips calibrated so far, with a warning.

    Raises:
        MetricError: there is no batch, batches have several shapes, `batch` holds what chips are calibrated on, or as
            of `limpet.robustness_curve`.
        PrototypeError: a glob matches no leaf, or one that cannot be given anew.
        LimpetError: an argument is none of those allowed.

    Examples:
        >>> import jax.numpy as jnp, limpet, optax
        >>> x = jax.random.normal(jax.random.key(0), (600, 8))
        >>> data = x, x.sum(axis=1)
        >>> params = {"dense": {"kernel": jnp.ones(8), "bias": jnp.zeros(())}}
        >>> def loss(params, batch):
        ...     return ((batch[0] ** 2 @ params["dense"]["kernel"] + params["dense"]["bias"] - 8) ** 2).mean()
        >>> hardware = limpet.Hardware(crossbar=limpet.Part("*/kernel", limpet.Gaussian(sigma=0.3)))
        >>> fit = limpet.GradientFit(loss, [(x[:300], data[1][:300])], optimizer=optax.sgd(0.4), steps=20)
        >>> calibration = limpet.calibrate(
        ...     fit,
        ...     params,
        ...     hardware,
        ...     metric_fn=loss,
        ...     batch=(x[300:], data[1][300:]),
        ...     chips=50,
        ...     scales=[1],
        ...     higher_is_better=False,
        ... )
        >>> bool(calibration.after.mean()[0] < calibration.before.mean()[0])
        True
        >>> calibration.given["dense/bias"].shape
        (1, 50)
    """
    found = calibrations(
        fit,
        tree,
        mismatch,
        metric_fn=of_one_number(metric_fn, "limpet.calibrations gives a dict of calibrations"),
        batch=batch,
        sigmas=sigmas,
        scales=scales,
        times=times,
        condition=condition,
        chips=chips,
        higher_is_better=higher_is_better,
        resume=resume,
    )
    return next(iter(found.values()))


def calibrations(
    fit: Procedure,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    metric_fn: MetricFn,
    batch: Any,
    sigmas: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    times: Sequence[float | str] | None = None,
    condition: Condition | float = UNCHANGED,
    chips: int | Chips = HUNDRED,
    higher_is_better: Direction = None,
    resume: Any = None,
) -> dict[str, Calibration[RobustnessCurve]]:
    """The calibrations that `limpet.calibrate` gives, by name, for a metric that gives a dict of scalars.

    Arguments and errors are those of `limpet.calibrate`; `higher_is_better` may be given by name, and `resume` is what
    an earlier call of this function gave.
    """
    chips, fit = counted_chips(chips, "calibrate"), checked_fit(fit)
    recipe = checked_recipe(mismatch, tree)
    strengths = Strengths.of(recipe, sigmas, scales, times, condition)
    require_within(strengths.recipe, tree, strengths.drawn, chips)
    said = tuple((path, rule.array) for path, rule in recipe.rules.items() if rule is not None)
    on_chip = chip_fit(fit, VirtualValues(strengths.recipe), tree, said)
    stacked = stacked_batches(fit.batches, fit.steps)
    copied = on_device(batch)
    require_held_out(batch, stacked)
    describe = Description(metric_fn, strengths, shapes_of(tree), chips, higher_is_better)
    extra = (jax.device_put(stacked), jnp.int32(fit.steps), {})
    measurement = Measurement(metric_fn, recipe.paths, on_chip, chips, extra, beside=on_chip.beside, recipe=recipe)
    prepared = measurement.prepare(tree, copied, strengths.cases())
    describe.require_directions(metrics_of(prepared.names))
    origin, samples = origin_of(prepared, divided(tree)[0], stacked, batch), sample_count(stacked)
    held = held_by(resume, describe, origin, fit.steps, samples, on_chip.beside)
    first = next(iter(held.values())).shape[1] if held else 0
    values: Values = {}
    if first < chips.most:
        with progress_bar("chips calibrated", chips.most - first, chips.progress) as advance:
            values = gathered(ahead(prepared.rounds(first, chips.most - first)), advance)
    done = next(iter(values.values())).shape[1] if values else 0
    if not first + done:
        raise KeyboardInterrupt
    if first + done < chips.most:
        warn_user(f"interrupted: {first + done} chips are calibrated so far; hand this over as resume to go on")
    values = {name: np.concatenate([part[name] for part in (held, values) if part], axis=1) for name in held or values}
    values = {name: value[:, : chips.most] for name, value in values.items()}
    before, after = (describe.curves(results_of(values, when)) for when in (BEFORE, AFTER))
    given = results_of(values, GIVEN)
    return {name: Calibration(before[name], after[name], given, fit.steps, samples, origin) for name in before}


def metrics_of(results: Sequence[str]) -> list[str]:
    """The names that the metric gave, from the names of a chip's results."""
    return [name.removeprefix(BEFORE) for name in results if name.startswith(BEFORE)]


def results_of(values: Mapping[str, np.ndarray], prefix: str) -> Values:
    """The results whose names begin with a word, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
