"""Monte Carlo: the metric of a network on many virtual chips, in one compiled function."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ._curve import RobustnessCurve
from ._deviation import checked_strength
from ._errors import MetricError
from ._mismatch import Recipe
from ._paths import leaves_by_path
from ._random import chip_key

MetricFn = Callable[[Any, Any], Any]
"""The user's own metric: `metric_fn(tree, batch)` gives a scalar, or a dict of named scalars."""

BARE = ""
"""Stands for the name of a metric that came without one; `curves_of` calls it by its function's name."""


def chip_metrics(
    metric_fn: MetricFn,
    mismatch: Recipe,
    tree: Any,
    batch: Any,
    sigmas: jax.Array,
    *,
    chips: int,
    seed: int,
    chunk: int,
) -> dict[str, jax.Array]:
    """The metric of each chip at each sigma: the traced body that one `jit` compiles for all of them.

    Args:
        metric_fn: see `MetricFn`; jittable.
        mismatch: who deviates, and by which distribution; its own sigmas are replaced by `sigmas`.
        tree: nominal values.
        batch: handed to `metric_fn`.
        sigmas: shape (strengths,).
        chips: number of virtual chips, the first ones of `seed`.
        seed: of the chips.
        chunk: how many chips are evaluated at once.

    Returns:
        Arrays of shape (strengths, chips) by metric name; by `BARE` where `metric_fn` gives a bare scalar.
    """
    unit = mismatch.with_sigma(1.0)
    chunk = min(chunk, chips)
    rounds = -(-chips // chunk)  # the last round is filled up with further chips: one body to compile, not two
    strengths = jnp.repeat(sigmas, rounds)
    numbers = jnp.tile(jnp.arange(rounds * chunk, dtype=jnp.uint32).reshape(rounds, chunk), (len(sigmas), 1))

    def one_chip(chip: jax.Array, sigma: jax.Array) -> dict[str, jax.Array]:
        return _named_scalars(metric_fn(unit(chip_key(seed, chip), tree, sigma), batch))

    # Chips are mapped inside, strengths outside: with one strength a round a chip's values are those of `freeze`, to
    # the last bit.
    def one_round(round_: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        sigma, chips_ = round_
        return jax.vmap(one_chip, in_axes=(0, None))(chips_, sigma)

    values = jax.lax.map(one_round, (strengths, numbers))
    return {name: found.reshape(len(sigmas), rounds * chunk)[:, :chips] for name, found in values.items()}


@overload
def robustness_curve(
    metric_fn: Callable[[Any, Any], ArrayLike],
    tree: Any,
    mismatch: Recipe,
    *,
    sigmas: Sequence[float],
    chips: int = 100,
    seed: int = 0,
    batch: Any = None,
    chunk: int = 10,
    higher_is_better: bool = True,
) -> RobustnessCurve: ...
@overload
def robustness_curve(
    metric_fn: Callable[[Any, Any], Mapping[str, ArrayLike]],
    tree: Any,
    mismatch: Recipe,
    *,
    sigmas: Sequence[float],
    chips: int = 100,
    seed: int = 0,
    batch: Any = None,
    chunk: int = 10,
    higher_is_better: bool = True,
) -> dict[str, RobustnessCurve]: ...
def robustness_curve(
    metric_fn: MetricFn,
    tree: Any,
    mismatch: Recipe,
    *,
    sigmas: Sequence[float],
    chips: int = 100,
    seed: int = 0,
    batch: Any = None,
    chunk: int = 10,
    higher_is_better: bool = True,
) -> RobustnessCurve | dict[str, RobustnessCurve]:
    """Measure a network on many virtual chips.

    Chip c is the same chip at every sigma, in every call and for every network with the same leaf paths, so that
    curves differ because networks do (common random numbers).

    Args:
        metric_fn: `metric_fn(tree, batch)`, jittable, giving a scalar or a dict of scalars.
        tree: the tree of nominal values.
        mismatch: which leaves deviate, and by which distribution; strengths come from `sigmas`.
        sigmas: relative standard deviations, each finite and >= 0.
        chips: number of virtual chips.
        seed: of the chips.
        batch: handed to `metric_fn`.
        chunk: how many chips are evaluated at once; more is faster until memory is short.
        higher_is_better: True for an accuracy, False for a loss.

    Returns:
        The curve; curves by name where the metric gives a dict.

    Raises:
        MetricError: no sigma, no chip, or a metric that gives no scalar.
        StrengthError: a sigma that is negative, NaN or infinite.
        PrototypeError: recipe and tree do not fit.

    Example:
        >>> import limpet
        >>> params = {"w": jnp.ones(100)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("w", True)), limpet.Gaussian(sigma=0.1))
        >>> curve = robustness_curve(lambda tree, _: tree["w"].mean(), params, mismatch, sigmas=[0, 0.5], chips=200)
        >>> curve.values.shape, curve.std().round(2).tolist()
        ((2, 200), [0.0, 0.05])
    """
    sigmas = [checked_strength(sigma, f"sigmas[{index}]") for index, sigma in enumerate(sigmas)]
    for name, value, least in (("sigmas", len(sigmas), 1), ("chips", chips, 1), ("chunk", chunk, 1)):
        if value < least:
            raise MetricError(f"{name}: at least {least} is needed, got {value}")
    leaves, structure = leaves_by_path(tree)

    @jax.jit
    def evaluate(selected: dict[str, jax.Array], batch: Any) -> dict[str, jax.Array]:
        whole = structure.unflatten({**leaves, **selected}.values())
        return chip_metrics(metric_fn, mismatch, whole, batch, jnp.asarray(sigmas), chips=chips, seed=seed, chunk=chunk)

    values = evaluate({path: jnp.asarray(leaves[path]) for path in mismatch.paths if path in leaves}, batch)
    curves = curves_of(metric_fn, values, sigmas, seed, higher_is_better)
    return next(iter(curves.values())) if BARE in values else curves


def curves_of(
    metric_fn: MetricFn, values: dict[str, Any], sigmas: Sequence[float], seed: int, higher_is_better: bool
) -> dict[str, RobustnessCurve]:
    """The curves by metric name, from what `chip_metrics` gave."""
    own_name = getattr(metric_fn, "__name__", "metric")
    names = {name: name or ("metric" if own_name == "<lambda>" else own_name) for name in values}
    return {
        names[name]: RobustnessCurve(names[name], np.asarray(sigmas), np.asarray(found), seed, higher_is_better)
        for name, found in values.items()
    }


def _named_scalars(result: Any) -> dict[str, jax.Array]:
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
