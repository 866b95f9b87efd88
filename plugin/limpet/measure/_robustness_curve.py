"""Robustness curves: a metric of a network over sigma, on many virtual chips."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .._errors import MetricError
from ..deviations._deviation import checked_strength
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number, chip_key
from ..hardware._mismatch import Recipe
from ..leaves._paths import leaves_by_path
from ..results._robustness_curve import Estimate, RobustnessCurve
from ._monte_carlo import ChipFn, MonteCarlo, ahead, fetch
from ._progress import progress_bar

MetricFn = Callable[[Any, Any], Any]
"""The user's own metric: `metric_fn(tree, batch)` gives a scalar, or a dict of named scalars."""

BARE = ""
"""Stands for the name of a metric that came without one; `curves_of` calls it by its function's name."""

FIRST_CHIPS = 64  # chips="auto" looks at the interval for the first time after so many, then doubles


@dataclass(frozen=True)
class Strengths:
    """The strengths of a curve, and how a recipe is called to have them.

    Attributes:
        recipe: the recipe to call.
        scales: what to call it with, one for each strength.
        sigmas: what stands on the curve's axis: relative standard deviations; the scales themselves where leaves
            deviate at different sigmas.
        axis: which of the two that is.
    """

    recipe: Recipe
    scales: tuple[float, ...]
    sigmas: tuple[float, ...]
    axis: Literal["sigma", "scale"] = "sigma"

    @classmethod
    def at_sigmas(cls, recipe: Recipe, sigmas: Sequence[float]) -> "Strengths":
        """All selected leaves at the same relative standard deviations."""
        checked = _checked_strengths("sigmas", sigmas)
        return cls(recipe.with_sigma(1.0), checked, checked)

    @classmethod
    def at_scales(cls, recipe: Recipe, scales: Sequence[float]) -> "Strengths":
        """Each leaf at multiples of its own sigma."""
        checked = _checked_strengths("scales", scales)
        own = {recipe.sigma(path) for path in recipe.paths}
        if len(own) > 1:
            return cls(recipe, checked, checked, "scale")
        (sigma,) = own
        return cls(recipe, checked, tuple(scale * sigma for scale in checked))


def chip_metrics(
    metric_fn: MetricFn,
    recipe: Recipe,
    seed: int,
    rebuild: Callable[[Any], Any],
    generator: Generator = DEFAULT_GENERATOR,
    antithetic: bool = False,
) -> ChipFn:
    """What the engine evaluates for a metric: `(chip number, scale, (operand, batch))` to scalars by name.

    Args:
        metric_fn: see `MetricFn`.
        recipe: who deviates; called with the scale.
        seed: of the chips.
        rebuild: makes the whole tree of nominal values from the operand.
        generator: of the chips.
        antithetic: numbers 2k and 2k + 1 are chip k and its mirror image, the same draw with the opposite sign.
    """

    def chip_fn(number: jax.Array, scale: jax.Array, operands: tuple[Any, Any]) -> dict[str, jax.Array]:
        operand, batch = operands
        if antithetic:
            scale = scale * jnp.where(number % 2, -1.0, 1.0).astype(scale.dtype)
            number = number // 2
        return named_scalars(metric_fn(recipe(chip_key(seed, number, generator), rebuild(operand), scale), batch))

    return chip_fn


def robustness_curve(
    metric_fn: MetricFn,
    tree: Any,
    mismatch: Recipe,
    *,
    sigmas: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    chips: int | Literal["auto"] = 100,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    batch: Any = None,
    batches: Iterable[Any] | None = None,
    precision: float = 0.01,
    estimate: Estimate = "mean",
    target: float | None = None,
    max_chips: int = 10_000,
    antithetic: bool = False,
    mesh: Mesh | None = None,
    chunk: int | None = None,
    progress: bool | None = None,
    higher_is_better: bool | Mapping[str, bool] = True,
) -> Any:
    """Measure a network on many virtual chips.

    Chip c is the same chip at every strength, in every call and for every network with the same leaf paths (common
    random numbers): curves differ because networks do, and `limpet.compare` can pair them.

    Args:
        metric_fn: `metric_fn(tree, batch)`, jittable, giving a scalar or a dict of scalars.
        tree: the tree of nominal values.
        mismatch: which leaves deviate, and by which distribution.
        sigmas: strengths as relative standard deviations, the same for every leaf; finite and >= 0, in any order, may
            repeat. Give these or `scales`.
        scales: strengths as multiples of each leaf's own sigma.
        chips: number of virtual chips; "auto" draws on until the interval is narrow enough.
        seed: of the chips.
        generator: what they are drawn with, "fast" or "threefry2x32".
        batch: handed to `metric_fn`; a pytree of arrays.
        batches: in place of `batch`, the batches of a test set larger than memory: the metric is the mean over them,
            each weighted by its count (the leading axis of its first array). Batches of one size compile once.
        precision: with chips="auto", half the width of the 95% interval to be reached at every strength.
        estimate: with chips="auto", of what: "mean", "yield" (at `target`), or a quantile such as 0.05.
        target: of that yield.
        max_chips: with chips="auto", the budget.
        antithetic: draw chips in pairs of opposite sign, which cancels what is linear in the deviation: chips 2k and
            2k + 1 of the curve are virtual chip k and its mirror image.
        mesh: a JAX mesh whose devices share the chips, perhaps those of several processes; same values.
        chunk: how many chips go to the device at a time; sets how often progress moves, never a result.
        progress: show a bar; None: where standard error is a terminal.
        higher_is_better: True for an accuracy, False for a loss; by name where the metric gives a dict of both (True
            for names left out).

    Returns:
        A `RobustnessCurve`; a dict of them by name where the metric gives a dict. After Ctrl-C: the chips evaluated so
        far, with a warning (not with `batches`, where no chip is complete before the last of them).

    Raises:
        MetricError: no strength, no chip, an empty batch, a metric that gives no scalar, or options that contradict.
        StrengthError: a strength that is negative, NaN or infinite.
        PrototypeError: recipe and tree do not fit.
        LimpetError: seed or generator is not one of those allowed.

    Example:
        >>> import limpet
        >>> params = {"w": jnp.ones(100)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("w", True)), limpet.Gaussian(sigma=0.1))
        >>> curve = robustness_curve(lambda tree, _: tree["w"].mean(), params, mismatch, sigmas=[0, 0.5], chips=200)
        >>> curve.values.shape, curve.std().round(2).tolist()
        ((2, 200), [0.0, 0.05])
    """
    auto, budget = chips == "auto", max_chips if chips == "auto" else chips
    check_counts(chips=budget, chunk=chunk)
    seed, generator = checked_number(seed, "seed"), checked_generator(generator)
    _check_options(auto, antithetic and budget % 2 == 1, batch, batches, estimate, target)
    if (sigmas is None) == (scales is None):
        raise MetricError("give either sigmas or scales: the strengths of the curve")
    strengths = Strengths.at_sigmas(mismatch, sigmas) if scales is None else Strengths.at_scales(mismatch, scales)  # pyright: ignore[reportArgumentType]

    # Only what deviates is an operand: the rest (Python floats and functions among it) is constant.
    leaves, structure = leaves_by_path(tree)
    selected = {path: jnp.asarray(leaves[path]) for path in mismatch.paths if path in leaves}

    def rebuild(operand: dict[str, jax.Array]) -> Any:
        return structure.unflatten({**leaves, **operand}.values())

    engine = MonteCarlo(
        chip_metrics(metric_fn, strengths.recipe, seed, rebuild, generator, antithetic),
        jnp.asarray(strengths.scales),
        chips=min(budget, FIRST_CHIPS) if auto else budget,
        chunk=chunk,
        mesh=mesh,
    )

    def curves(values: dict[str, np.ndarray]) -> dict[str, RobustnessCurve]:
        return curves_of(metric_fn, values, strengths, seed, higher_is_better, generator, antithetic)

    parts: list[dict[str, np.ndarray]] = []
    found: dict[str, RobustnessCurve] = {}
    done, goal = 0, min(budget, FIRST_CHIPS) if auto else budget
    with progress_bar("virtual chips", budget, progress) as advance:
        while True:
            part = _evaluated(engine, selected, batch, batches, done, goal - done, advance)
            if antithetic:  # an interrupt may have parted a pair
                part = {name: values[:, : values.shape[1] // 2 * 2] for name, values in part.items()}
            interrupted = not part or not next(iter(part.values())).size
            if interrupted and not parts:
                raise KeyboardInterrupt
            if interrupted:
                break
            parts.append(part)
            done += next(iter(part.values())).shape[1]
            found = curves({name: np.concatenate([part[name] for part in parts], axis=1) for name in part})
            interrupted = done < goal
            if interrupted or done == budget:
                break
            if all(_is_precise(curve, precision, estimate, target) for curve in found.values()):
                break
            goal = min(budget, 2 * goal)
    if interrupted:
        warnings.warn(f"interrupted: the curve holds the {done} chips evaluated so far", stacklevel=2)
    return next(iter(found.values())) if BARE in parts[0] else found


def curves_of(
    metric_fn: MetricFn,
    values: dict[str, Any],
    strengths: Strengths,
    seed: int,
    higher_is_better: bool | Mapping[str, bool],
    generator: Generator = DEFAULT_GENERATOR,
    antithetic: bool = False,
) -> dict[str, RobustnessCurve]:
    """The curves by metric name, from the engine's values.

    Raises:
        MetricError: `higher_is_better` names a metric that there is not.
    """
    own_name = getattr(metric_fn, "__name__", "metric")
    bare = "metric" if own_name == "<lambda>" else own_name
    better = higher_is_better if isinstance(higher_is_better, Mapping) else {}
    if unknown := better.keys() - {name or bare for name in values}:
        raise MetricError(f"higher_is_better names {', '.join(sorted(unknown))}; the metrics are {', '.join(values)}")
    default = True if isinstance(higher_is_better, Mapping) else higher_is_better
    return {
        name or bare: RobustnessCurve(
            name or bare,
            np.array(strengths.sigmas),
            np.asarray(found),
            seed,
            better.get(name or bare, default),
            strengths.axis,
            antithetic,
            generator,
        )
        for name, found in values.items()
    }


def named_scalars(result: Any) -> dict[str, jax.Array]:
    """What a metric function gave, as scalars by name.

    Raises:
        MetricError: it is no scalar and no dict of scalars.
    """
    named = result if isinstance(result, dict) else {BARE: result}
    if not named:
        raise MetricError("the metric function gave an empty dict: it gives a scalar or a dict of scalars")
    for name, value in named.items():
        if not isinstance(value, jax.Array | np.ndarray | np.generic | float | int) or np.shape(value):
            shape = np.shape(value) if hasattr(value, "shape") else type(value).__name__
            raise MetricError(
                f"metric {name!r} has shape {shape}: a metric function gives one number for one chip, or a dict of such"
            )
    return {name: jnp.asarray(value, jnp.result_type(float)) for name, value in named.items()}


def _evaluated(
    engine: MonteCarlo,
    selected: Any,
    batch: Any,
    batches: Iterable[Any] | None,
    first: int,
    chips: int,
    advance: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """The values of some chips; after an interrupt, of the first of them, or nothing."""
    if batches is None:
        rounds: list[dict[str, np.ndarray]] = []
        on_device = jax.device_put(checked_batch(batch))  # once, not in every round
        try:
            for values in ahead(engine.rounds((selected, on_device), first, chips)):
                rounds.append(fetch(values))
                advance(next(iter(rounds[-1].values())).shape[1])
        except KeyboardInterrupt:
            if not rounds:
                return {}
        return {name: np.concatenate([values[name] for values in rounds], axis=1) for name in rounds[0]}

    sums: dict[str, np.ndarray] = {}
    total = 0
    for part in batches:
        count, on_device = _count_of(part), jax.device_put(part)
        rounds = [fetch(values) for values in ahead(engine.rounds((selected, on_device), first, chips))]
        for name in rounds[0]:
            values = np.concatenate([found[name] for found in rounds], axis=1).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + count * values
        total += count
    if not total:
        raise MetricError("batches: there is none, so there is nothing to measure")
    advance(chips)
    return {name: values / total for name, values in sums.items()}


def _is_precise(curve: RobustnessCurve, precision: float, estimate: Estimate, target: float | None) -> bool:
    low, high = curve.interval(estimate, target=target)
    return bool(np.all((high - low) / 2 <= precision))


def _checked_strengths(name: str, strengths: Sequence[float]) -> tuple[float, ...]:
    if np.ndim(strengths) != 1:
        raise MetricError(f"{name} = {strengths!r}: allowed is a list of numbers")
    checked = tuple(checked_strength(value, f"{name}[{index}]") for index, value in enumerate(strengths))
    if not checked:
        raise MetricError(f"{name}: at least 1 is needed, got 0")
    return checked


def check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and not isinstance(value, int | np.integer):
            raise MetricError(f"{name} = {value!r}: allowed is a whole number from 1 on")
        if value is not None and value < 1:
            raise MetricError(f"{name}: at least 1 is needed, got {value}")


def _check_options(
    auto: bool, odd_pairs: bool, batch: Any, batches: Iterable[Any] | None, estimate: Estimate, target: float | None
) -> None:
    if odd_pairs:
        raise MetricError("antithetic chips come in pairs: give an even number of chips")
    if batch is not None and batches is not None:
        raise MetricError("give either batch or batches, not both")
    if auto and estimate == "yield" and target is None:
        raise MetricError("estimate='yield' needs a target")
    if auto and batches is not None and iter(batches) is batches:
        raise MetricError("chips='auto' may go over the batches more than once: give a list or another re-iterable")


def _count_of(batch: Any) -> int:
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(checked_batch(batch)) if np.shape(leaf)]
    return shapes[0][0] if shapes else 1


def checked_batch(batch: Any) -> Any:
    for leaf in jax.tree.leaves(batch):
        if 0 in np.shape(leaf):
            raise MetricError(f"an empty batch (an array of shape {np.shape(leaf)}): there is nothing to measure")
    return batch
