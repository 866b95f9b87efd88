"""Sensitivity: which leaf's mismatch costs the metric, and how much."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .._errors import MetricError, PrototypeError, warn_user
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ..results._direction import checked_direction
from ..results._sensitivity import Sensitivity
from ._measurement import Chip, Measurement, check_count, checked_batch, checked_recipe, gathered
from ._metric import UNNAMED, MetricFn, ScalarMetric, function_name, named_scalars
from ._monte_carlo import ahead
from ._progress import progress_bar


def sensitivity(
    metric_fn: ScalarMetric,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    sigma: float | None = None,
    chips: int = 100,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    batch: Any = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    gradient_of: MetricFn | None = None,
    mesh: Mesh | None = None,
    progress: bool | None = None,
    higher_is_better: bool | None = None,
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
        progress: show a bar; None: where standard error is a terminal.
        higher_is_better: True for an accuracy, False for a loss.

    Raises:
        PrototypeError: a glob matches no leaf that deviates, or a leaf is in two groups.
        MetricError: the metric gives no scalar.

    Examples:
        >>> import limpet
        >>> params = {"a": jnp.ones(50), "b": jnp.ones(50)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("*", True)), limpet.Gaussian(sigma=0.1))
        >>> def error(tree, _):
        ...     return ((tree["a"] - 1) ** 2).mean() + 4 * ((tree["b"] - 1) ** 2).mean()
        >>> found = sensitivity(error, params, mismatch, chips=50, higher_is_better=False)
        >>> [group for group, *_ in found.ranking()]
        ['b', 'a']
    """
    check_count("chips", chips)
    recipe = checked_recipe(mismatch, tree)
    recipe = recipe if sigma is None else recipe.with_sigma(sigma)
    better = checked_direction(function_name(metric_fn), higher_is_better)
    seed, generator = checked_number(seed, "seed"), checked_generator(generator)
    batch = jax.device_put(checked_batch(batch))
    group_of = _grouped(recipe.paths, groups)
    names = tuple(dict.fromkeys(group_of.values()))
    index = {name: place for place, name in enumerate(names)}

    def masked(metric: Any, chip: Chip, tree: Any, mask: jax.Array) -> dict[str, jax.Array]:
        nominal, deviated = adapter_of(tree).leaves(tree), adapter_of(tree).leaves(recipe(chip.key, tree))
        chosen = {path: jnp.where(mask[index[name]], deviated[path], nominal[path]) for path, name in group_of.items()}
        return _one_scalar(metric(adapter_of(tree).with_values(tree, lambda leaves: leaves | chosen)))

    def moved_along(metric: Any, chip: Chip, tree: Any, case: tuple[jax.Array, Any]) -> dict[str, jax.Array]:
        place, slopes = case
        nominal, deviated = adapter_of(tree).leaves(tree), adapter_of(tree).leaves(recipe(chip.key, tree))
        changes = jnp.zeros(len(names), jnp.result_type(float))
        for path, name in group_of.items():
            moved = (deviated[path] - nominal[path]).astype(changes.dtype) * slopes[path].astype(changes.dtype)
            changes = changes.at[index[name]].add(moved.sum())
        return {UNNAMED: changes[place]}

    # Put together anew inside the trace: the state of an nnx module that was made outside could not be written there.
    leaves, structure = adapter_of(tree).flattened(tree)

    def loss(values: dict[str, Any]) -> Any:
        changed = structure.unflatten({**leaves, **values}.values())
        scalar = _one_scalar(named_scalars(gradient_of or metric_fn, changed, batch))[UNNAMED]
        return scalar.astype(jnp.result_type(float))  # whole numbers have no derivative, as constants have none

    slopes = jax.jit(jax.grad(loss))({path: jnp.asarray(leaves[path]) for path in group_of})
    each = np.eye(len(names), dtype=bool)
    masks = np.concatenate([np.zeros((1, len(names)), bool), np.ones((1, len(names)), bool), each, ~each])
    grouping = tuple(group_of.items())
    cases = jnp.asarray(masks)
    # A group that the metric does not depend on is no mistake here: that it costs nothing is the answer.
    costs = Measurement(metric_fn, recipe, masked, ("alone", grouping), seed, generator, mesh=mesh, audited=False)
    linear = Measurement(
        metric_fn, recipe, moved_along, ("first order", grouping), seed, generator, mesh=mesh, extra=slopes
    )
    with progress_bar("sensitivity", chips, progress) as advance:
        values = gathered(ahead(costs.prepare(tree, batch, cases).rounds(0, chips)), advance)
        if not values:
            raise KeyboardInterrupt
        metrics = values[UNNAMED].astype(np.float64)
        done = metrics.shape[1]
        if done < chips:
            warn_user(f"interrupted: the sensitivity is that of the {done} chips evaluated so far")
        to_first_order = linear.prepare(tree, batch, jnp.arange(len(names)))
        changes = gathered(ahead(to_first_order.rounds(0, done)), lambda count: None)
    return Sensitivity(
        groups=names,
        nominal=float(metrics[0, 0]),
        everything=metrics[1],
        alone=metrics[2 : 2 + len(names)],
        without=metrics[2 + len(names) :],
        first_order=changes[UNNAMED].astype(np.float64).std(axis=1),
        higher_is_better=better,
    )


def _one_scalar(named: dict[str, jax.Array]) -> dict[str, jax.Array]:
    if set(named) != {UNNAMED}:
        raise MetricError(f"sensitivity is of one metric, the function gave a dict of {', '.join(named)}")
    return named


def _grouped(selected: Sequence[str], groups: Mapping[str, Sequence[str]] | None) -> dict[str, str]:
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
