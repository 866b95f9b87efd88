"""Sensitivity: which leaf's mismatch costs the metric, and how much."""

import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from .._errors import MetricError, PrototypeError
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number, chip_key
from ..hardware._mismatch import Recipe
from ..leaves._paths import leaves_by_path, listing
from ..results._sensitivity import Sensitivity
from ._monte_carlo import MonteCarlo, ahead, fetch
from ._progress import progress_bar
from ._robustness_curve import BARE, MetricFn, check_counts, checked_batch, named_scalars


def sensitivity(
    metric_fn: MetricFn,
    tree: Any,
    mismatch: Recipe,
    *,
    sigma: float | None = None,
    chips: int = 100,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    batch: Any = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    gradient_of: MetricFn | None = None,
    mesh: Mesh | None = None,
    chunk: int | None = None,
    progress: bool | None = None,
    higher_is_better: bool = True,
) -> Sensitivity:
    """Find which leaves cost the metric: one group deviating at a time, all but one, and to first order.

    All of them are measured on the same virtual chips; for a DynapSim this says which bias current matters.

    Args:
        metric_fn: `metric_fn(tree, batch)`, jittable, giving one scalar.
        tree: the tree of nominal values.
        mismatch: which leaves deviate, and by which distribution.
        sigma: relative standard deviation of every leaf; None: each leaf's own.
        chips: number of virtual chips.
        seed: of the chips.
        generator: what they are drawn with, "fast" or "threefry2x32".
        batch: handed to `metric_fn`.
        groups: name to path globs; None, and leaves that no glob matches: each leaf is a group of its own.
        gradient_of: a differentiable function of the same form for the first-order estimate, such as the loss where the
            metric counts; None: the metric itself.
        mesh: see `limpet.robustness_curve`, as are the following.
        chunk: how many chips go to the device at a time.
        progress: show a bar; None: where standard error is a terminal.
        higher_is_better: True for an accuracy, False for a loss.

    Raises:
        PrototypeError: a glob matches no leaf that deviates, or a leaf is in two groups.
        MetricError: the metric gives no scalar.

    Example:
        >>> import limpet
        >>> params = {"a": jnp.ones(50), "b": jnp.ones(50)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("*", True)), limpet.Gaussian(sigma=0.1))
        >>> def error(tree, _):
        ...     return ((tree["a"] - 1) ** 2).mean() + 4 * ((tree["b"] - 1) ** 2).mean()
        >>> found = sensitivity(error, params, mismatch, chips=50, higher_is_better=False)
        >>> [group for group, *_ in found.ranking()]
        ['b', 'a']
    """
    recipe = mismatch if sigma is None else mismatch.with_sigma(sigma)
    check_counts(chips=chips, chunk=chunk)
    generator = checked_generator(generator)
    seed, batch = checked_number(seed, "seed"), jax.device_put(checked_batch(batch))
    leaves, structure = leaves_by_path(tree)
    selected = {path: jnp.asarray(leaves[path]) for path in recipe.paths if path in leaves}
    group_of = _grouped(selected, groups)
    names = tuple(dict.fromkeys(group_of.values()))
    index = {name: place for place, name in enumerate(names)}

    def rebuild(operand: dict[str, jax.Array]) -> Any:
        return structure.unflatten({**leaves, **operand}.values())

    def drawn(number: jax.Array, operand: dict[str, jax.Array]) -> dict[str, jax.Array]:
        deviated, _ = leaves_by_path(recipe(chip_key(seed, number, generator), rebuild(operand)))
        return {path: deviated[path] for path in operand}

    def masked(number: jax.Array, mask: jax.Array, operands: tuple[Any, Any]) -> dict[str, jax.Array]:
        operand, batch = operands
        chip = {
            path: jnp.where(mask[index[group_of[path]]], value, operand[path])
            for path, value in drawn(number, operand).items()
        }
        return _one_scalar(metric_fn(rebuild(chip), batch))

    def to_first_order(number: jax.Array, place: jax.Array, operands: tuple[Any, Any]) -> dict[str, jax.Array]:
        (operand, slopes), _ = operands
        changes = jnp.zeros(len(names), jnp.result_type(float))
        for path, value in drawn(number, operand).items():
            moved = (value - operand[path]).astype(changes.dtype) * slopes[path].astype(changes.dtype)
            changes = changes.at[index[group_of[path]]].add(moved.sum())
        return {BARE: changes[place]}

    slopes = jax.jit(jax.grad(lambda operand: _one_scalar((gradient_of or metric_fn)(rebuild(operand), batch))[BARE]))(
        selected
    )
    each = np.eye(len(names), dtype=bool)
    masks = np.concatenate([np.zeros((1, len(names)), bool), np.ones((1, len(names)), bool), each, ~each])
    engine = MonteCarlo(masked, jnp.asarray(masks), chips=chips, chunk=chunk, mesh=mesh)
    linear = MonteCarlo(to_first_order, jnp.arange(len(names)), chips=chips, chunk=chunk, mesh=mesh)
    with progress_bar("sensitivity", chips, progress) as advance:
        rounds: list[NDArray[np.float64]] = []
        try:
            for found in ahead(engine.rounds((selected, batch), 0, chips)):
                rounds.append(fetch(found)[BARE].astype(np.float64))
                advance(rounds[-1].shape[1])
        except KeyboardInterrupt:
            if not rounds:
                raise
            chips = sum(found.shape[1] for found in rounds)
            warnings.warn(f"interrupted: the sensitivity is that of {chips} chips", stacklevel=2)
    changes = [fetch(found)[BARE] for found in ahead(linear.rounds(((selected, slopes), None), 0, chips))]
    values = np.concatenate(rounds, axis=1)
    return Sensitivity(
        groups=names,
        nominal=float(values[0, 0]),
        everything=values[1],
        alone=values[2 : 2 + len(names)],
        without=values[2 + len(names) :],
        first_order=np.concatenate(changes, axis=1).astype(np.float64).std(axis=1),
        higher_is_better=higher_is_better,
    )


def _one_scalar(result: Any) -> dict[str, jax.Array]:
    named = named_scalars(result)
    if set(named) != {BARE}:
        raise MetricError(f"sensitivity is of one metric, the function gave a dict of {', '.join(named)}")
    return named


def _grouped(selected: Mapping[str, Any], groups: Mapping[str, Sequence[str]] | None) -> dict[str, str]:
    group_of: dict[str, str] = {}
    for name, globs in (groups or {}).items():
        for glob in [globs] if isinstance(globs, str) else globs:
            matches = [path for path in selected if fnmatchcase(path, glob)]
            if not matches:
                raise PrototypeError(
                    f"groups['{name}']: '{glob}' matches no leaf that deviates; those are: {listing(selected)}"
                )
            for path in matches:
                if group_of.setdefault(path, name) != name:
                    raise PrototypeError(f"leaf '{path}' is in the groups '{group_of[path]}' and '{name}'")
    return {path: group_of.get(path, path) for path in selected}
