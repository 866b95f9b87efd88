"""Many chips, calibrated together and measured before and after, whatever the procedure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from .._errors import LimpetError, MetricError, PrototypeError, warn_user
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number
from ..hardware._fingerprint import shapes_of
from ..hardware._hardware import Hardware
from ..hardware._measured_chip import MeasuredChip
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..leaves._chosen import chosen_paths
from ..leaves._paths import is_real, listing
from ..measure._description import Description, Direction, directions_of
from ..measure._limits_report import require_within
from ..measure._measure_chips import checked_names
from ..measure._measurement import Measurement, check_count, checked_batch, checked_recipe, gathered
from ..measure._metric import UNNAMED, MetricFn
from ..measure._monte_carlo import ahead
from ..measure._progress import progress_bar
from ..measure._strengths import Strengths
from ..results._calibration import Calibration
from ..results._chip_metrics import ChipMetrics
from ..results._robustness_curve import RobustnessCurve
from ._calibration_data import require_held_out, sample_count, stacked_batches
from ._chip_fit import (
    AFTER,
    BEFORE,
    GIVEN,
    ChipFit,
    ChipValues,
    MeasuredValues,
    Procedure,
    VirtualValues,
    stacked_values,
)

Values = dict[str, np.ndarray]
"""Results by name, shape (strengths, chips, *shape of one chip's)."""


def calibrated_chips(
    procedure: Procedure,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    metric_fn: MetricFn,
    batches: Iterable[Any],
    batch: Any,
    trainable: Sequence[str],
    gains: Sequence[str],
    steps: int,
    chips: int,
    sigmas: Sequence[float] | None,
    scales: Sequence[float] | None,
    times: Sequence[float | str] | None,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    mesh: Mesh | None = None,
    progress: bool | None = None,
    higher_is_better: Direction = None,
    resume: Any = None,
    levels: Mapping[str, ArrayLike] | None = None,
) -> Calibration[RobustnessCurve] | dict[str, Calibration[RobustnessCurve]]:
    """Virtual chips, calibrated by a procedure; arguments, result and errors as of `limpet.calibrate`."""
    chips, steps = check_count("chips", chips), check_count("steps", steps)
    seed, generator = checked_number(seed, "seed"), checked_generator(generator)
    recipe = checked_recipe(mismatch, tree)
    strengths = Strengths.of(recipe, sigmas, scales, times)
    require_within(strengths.recipe, tree, strengths.scales, chips, seed, generator, False)
    fit = _fit(procedure, VirtualValues(strengths.recipe), tree, trainable, gains, levels)
    stacked = stacked_batches(batches, steps)
    require_held_out(checked_batch(batch), stacked)
    describe = Description(metric_fn, strengths, shapes_of(tree), seed, generator, False, higher_is_better)
    measurement = Measurement(
        metric_fn,
        strengths.recipe,
        fit,
        fit.key,
        seed,
        generator,
        mesh=mesh,
        extra=(jax.device_put(stacked), jnp.int32(steps), {}),
        beside=fit.beside,
    )
    prepared = measurement.prepare(tree, jax.device_put(batch), strengths.cases)
    describe.require_directions(_metrics(prepared.metrics))
    held = _resumed(resume, describe, steps, sample_count(stacked), fit.beside)
    first = next(iter(held.values())).shape[1] if held else 0
    values: Values = {}
    if first < chips:
        with progress_bar("chips calibrated", chips - first, progress) as advance:
            values = gathered(ahead(prepared.rounds(first, chips - first)), advance)
    done = next(iter(values.values())).shape[1] if values else 0
    if not first + done:
        raise KeyboardInterrupt
    if first + done < chips:
        warn_user(f"interrupted: {first + done} chips are calibrated so far; hand this over as resume to go on")
    values = {name: np.concatenate([part[name] for part in (held, values) if part], axis=1) for name in held or values}
    values = {name: value[:, :chips] for name, value in values.items()}
    before, after = describe.curves(_of(values, BEFORE)), describe.curves(_of(values, AFTER))
    given = _of(values, GIVEN)
    calibrations = {
        name: Calibration(before[name], after[name], given, steps, sample_count(stacked)) for name in before
    }
    return next(iter(calibrations.values())) if f"{BEFORE}{UNNAMED}" in values else calibrations


def calibrated_measured_chips(
    procedure: Procedure,
    tree: Any,
    chips: Sequence[MeasuredChip],
    *,
    metric_fn: MetricFn,
    batches: Iterable[Any],
    batch: Any,
    trainable: Sequence[str],
    gains: Sequence[str],
    steps: int,
    higher_is_better: Direction,
    levels: Mapping[str, ArrayLike] | None = None,
) -> Calibration[ChipMetrics]:
    """Measured chips, calibrated by a procedure; arguments, result and errors as of `limpet.calibrate_chips`."""
    names, steps = checked_names(chips), check_count("steps", steps)
    adapter = adapter_of(tree)
    adapter.require_tree(tree)
    leaves = adapter.leaves(tree)
    given_anew = _trainable(tree, trainable)
    held = stacked_values(chips, leaves, given_anew)
    values_of = MeasuredValues(tuple(held), tuple(path for path in held if path in given_anew))
    fit = _fit(procedure, values_of, tree, trainable, gains, levels)
    stacked = stacked_batches(batches, steps)
    require_held_out(checked_batch(batch), stacked)
    measurement = Measurement(
        metric_fn,
        values_of,
        fit,
        fit.key,
        extra=(jax.device_put(stacked), jnp.int32(steps), held),
        beside=fit.beside,
    )
    cases = {"scale": jnp.zeros(1)}  # one, which measured chips do not look at
    prepared = measurement.prepare(tree, jax.device_put(batch), cases)
    metrics = _metrics(prepared.metrics)
    if len(metrics) > 1:
        raise MetricError(f"metric_fn gives {', '.join(metrics)}: of measured chips one metric is taken; give one")
    labels, better = directions_of(metric_fn, metrics, higher_is_better)
    values = gathered(ahead(prepared.rounds(0, len(chips))), lambda count: None)
    if not values or next(iter(values.values())).shape[1] < len(chips):
        raise KeyboardInterrupt
    name = metrics[0]
    nominal = float(jax.device_get(_nominal(metric_fn, tree, batch)))
    before, after = (
        ChipMetrics(labels[name], names, values[f"{when}{name}"][0].astype(np.float64), nominal, better[name])
        for when in (BEFORE, AFTER)
    )
    return Calibration(before, after, _of(values, GIVEN), steps, sample_count(stacked))


def _nominal(metric_fn: MetricFn, tree: Any, batch: Any) -> jax.Array:
    whole, structure = adapter_of(tree).flattened(tree)
    result = metric_fn(structure.unflatten(list(whole.values())), batch)
    return next(iter(result.values())) if isinstance(result, Mapping) else result  # pyright: ignore[reportReturnType]


def _fit(procedure: Procedure, values: Any, tree: Any, trainable: Any, gains: Any, levels: Any) -> ChipFit:
    given = _trainable(tree, trainable)
    return ChipFit(procedure, values, tuple(given), tuple(_gained(tree, gains)), _levels(given, levels, values))


def _levels(given: list[str], levels: Any, chips: ChipValues) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """The values between which chips choose, by path of a leaf that they are given anew: those within its limits.

    Raises:
        LimpetError: they are no mapping of globs to two finite numbers or more, or fewer lie within the limits.
        PrototypeError: a glob matches none of the leaves that chips are given anew.
    """
    if levels is None:
        return ()
    if not isinstance(levels, Mapping):
        raise LimpetError(f"levels = {levels!r}: give a mapping from path globs to values, {{'*/bias': [-1, 0, 1]}}")
    of: dict[str, tuple[float, ...]] = {}
    for glob, values in levels.items():
        known = np.unique(np.asarray(values, float))
        if len(known) < 2 or not np.isfinite(known).all():
            raise LimpetError(f"levels: {glob!r}: give two finite values or more, between which a chip chooses")
        for path in chosen_paths([glob], given, "levels"):
            within = known[np.asarray(chips.limited(path, jnp.asarray(known)) == jnp.asarray(known))]
            if len(within) < 2:
                raise LimpetError(f"levels: {glob!r}: {len(within)} of them lie within the limits of leaf '{path}'")
            of[path] = tuple(within.tolist())
    return tuple(of.items())


def _trainable(tree: Any, globs: Any) -> list[str]:
    """The paths of the leaves that chips are given anew.

    Raises:
        PrototypeError: a glob matches no leaf, or one that holds no real numbers.
    """
    leaves = adapter_of(tree).leaves(tree)
    paths = chosen_paths(globs, list(leaves), "trainable")
    if wrong := [path for path in paths if not is_real(leaves[path])]:
        raise PrototypeError(f"trainable: {listing(wrong)} hold no real numbers, so that they cannot be fitted")
    return paths


def _gained(tree: Any, globs: Any) -> list[str]:
    leaves = adapter_of(tree).leaves(tree)
    paths = chosen_paths(globs, list(leaves), "gains")
    if wrong := [path for path in paths if not is_real(leaves[path]) or np.ndim(leaves[path]) < 2]:
        raise PrototypeError(
            f"gains: {listing(wrong)} are no weights of two axes or more, so that there are no outputs to scale"
        )
    return paths


def _metrics(results: Iterable[str]) -> list[str]:
    """The names that the metric gave, from the names of a chip's results."""
    return [name.removeprefix(BEFORE) for name in results if name.startswith(BEFORE)]


def _of(values: Mapping[str, np.ndarray], prefix: str) -> Values:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _resumed(resume: Any, describe: Description, steps: int, samples: int, given: frozenset[str]) -> Values:
    """The values of chips that are calibrated already.

    Raises:
        LimpetError: `resume` is no calibration, or one of something else.
    """
    if resume is None:
        return {}
    named = resume if isinstance(resume, Mapping) else {UNNAMED: resume}
    if not named or not all(isinstance(calibration, Calibration) for calibration in named.values()):
        raise LimpetError(f"resume = {resume!r}: give what an earlier call of calibrate gave")
    values: Values = {}
    for name, calibration in named.items():
        like = describe.curves({name: np.asarray(calibration.before.values)})
        own, other = next(iter(like.values())).to_dict(), calibration.before.to_dict()
        own |= {"steps": steps, "samples": samples, "given": sorted(given)}
        other |= {"steps": calibration.steps, "samples": calibration.samples}
        other |= {"given": sorted(f"{GIVEN}{path}" for path in calibration.given)}
        if changed := [key for key in own if own[key] != other[key] and key != "values"]:
            raise LimpetError(
                f"resume: differs in {changed[0]}: {other[changed[0]]!r}, where this one has {own[changed[0]]!r}; only "
                f"a calibration of the same things can go on"
            )
        values |= {f"{BEFORE}{name}": calibration.before.values, f"{AFTER}{name}": calibration.after.values}
        values |= {f"{GIVEN}{path}": array for path, array in calibration.given.items()}
    return values
