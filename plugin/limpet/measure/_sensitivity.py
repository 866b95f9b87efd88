"""Sensitivity: which leaf's mismatch costs the metric, and how much."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import MetricError, PrototypeError, warn_user
from ..hardware._checked_recipe import checked_recipe
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ..results._condition import UNCHANGED, Condition, known_condition
from ..results._direction import checked_direction
from ..results._sensitivity import Sensitivity
from ._chips import HUNDRED, Chips, counted_chips
from ._limits_report import require_within
from ._measurement import Chip, Measurement, divided, gathered, on_device
from ._metric import UNNAMED, ScalarMetric, function_name, named_scalars, of_one_number
from ._monte_carlo import ahead
from ._programs import compiled
from ._progress import progress_bar


def sensitivity(
    metric_fn: ScalarMetric,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    sigma: float | None = None,
    condition: Condition | float = UNCHANGED,
    chips: int | Chips = HUNDRED,
    batch: Any = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    gradient_of: ScalarMetric | None = None,
    higher_is_better: bool | None = None,
) -> Sensitivity:
    """Find which leaves cost the metric: one group deviating at a time, all but one, and to first order.

    All of them are measured on the same virtual chips; for a DynapSim this says which bias current matters.

    Args:
        metric_fn: the metric, `metric_fn(tree, batch)`, jittable, giving one scalar.
        tree: the tree of nominal values.
        mismatch: the hardware, or a recipe, which says who deviates, and how.
        sigma: the relative standard deviation of every leaf; None for each leaf's own.
        condition: the condition of the chips: a `limpet.Condition`, or a number, which is the scale.
        chips: the virtual chips: their number, or `limpet.Chips`.
        batch: the argument of the metric.
        groups: path globs by name of a group; leaves that no glob matches are groups of their own.
        gradient_of: a differentiable function of the same form for the first-order estimate, such as the loss where the
            metric counts; None for the metric itself.
        higher_is_better: True for an accuracy, False for a loss; see `limpet.robustness_curve`.

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
    chips, condition = counted_chips(chips, "sensitivity"), known_condition(condition)
    recipe = checked_recipe(mismatch, tree)
    recipe = recipe if sigma is None else recipe.with_sigma(sigma)
    if any(rule and rule.product and rule.product.cells == "apart" for rule in recipe.rules.values()):
        raise MetricError(
            "mismatch: columns of devices of their own (Product.cells = 'apart') cannot be switched on leaf by leaf; "
            "take cells='together'"
        )
    require_within(recipe, tree, [condition], chips)
    better = checked_direction(function_name(metric_fn), higher_is_better)
    metric_fn = of_one_number(metric_fn, "sensitivity is of one metric")
    batch = on_device(batch)
    group_of = _grouped(recipe.paths, groups)
    names = tuple(dict.fromkeys(group_of.values()))
    index = {name: place for place, name in enumerate(names)}
    seen = condition.checked()

    def both(chip: Chip, tree: Any, condition: Condition) -> tuple[dict[str, Any], dict[str, Any]]:
        adapter = adapter_of(tree)
        leaves = adapter.leaves(tree)
        return leaves, recipe.weights_on_leaves(chip.key, leaves, chip.under(condition).checked())

    def masked(metric: Any, chip: Chip, tree: Any, mask: jax.Array, condition: Condition) -> dict[str, jax.Array]:
        nominal, deviated = both(chip, tree, condition)
        chosen = {path: jnp.where(mask[index[name]], deviated[path], nominal[path]) for path, name in group_of.items()}
        chosen = recipe.with_products(chip.key, nominal, chosen, chip.under(condition).checked())
        return metric(adapter_of(tree).with_values(tree, lambda leaves: leaves | chosen))

    def moved_along(metric: Any, chip: Chip, tree: Any, place: jax.Array, extra: Any) -> dict[str, jax.Array]:
        condition, slopes = extra
        nominal, deviated = both(chip, tree, condition)
        changes = jnp.zeros(len(names), jnp.result_type(float))
        for path, name in group_of.items():
            moved = (deviated[path] - nominal[path]).astype(changes.dtype) * slopes[path].astype(changes.dtype)
            changes = changes.at[index[name]].add(moved.sum())
        return {UNNAMED: changes[place]}

    # Put together anew inside the trace: the state of an nnx module that was made outside could not be written there.
    operand, rebuild = divided(tree)
    differentiated = gradient_of or metric_fn

    def loss(values: dict[str, Any], rest: dict[str, Any], batch: Any) -> Any:
        scalar = named_scalars(of_one_number(differentiated, "its gradient"), rebuild(rest | values), batch)[UNNAMED]
        return scalar.astype(jnp.result_type(float))  # whole numbers have no derivative, as constants have none

    leaves = adapter_of(tree).leaves(tree)
    values = {path: jnp.asarray(leaves[path]) for path in group_of}
    rest = {path: value for path, value in operand.items() if path not in values}
    slopes = compiled(jax.grad(loss), values, rest, batch)(values, rest, batch)
    each = np.eye(len(names), dtype=bool)
    masks = np.concatenate([np.zeros((1, len(names)), bool), np.ones((1, len(names)), bool), each, ~each])
    # A group that the metric does not depend on is no mistake here: that it costs nothing is the answer.
    costs = Measurement(metric_fn, recipe.paths, masked, chips, extra=seen, audited=False, recipe=recipe)
    linear = Measurement(metric_fn, recipe.paths, moved_along, chips, extra=(seen, slopes))
    with progress_bar("sensitivity", chips.most, chips.progress) as advance:
        found = gathered(ahead(costs.prepare(tree, batch, jnp.asarray(masks)).rounds(0, chips.most)), advance)
        if not found:
            raise KeyboardInterrupt
        metrics = found[UNNAMED].astype(np.float64)
        done = metrics.shape[1]
        if done < chips.most:
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
        antithetic=chips.antithetic,
    )


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
