"""Corners: the same virtual chips under several named conditions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checked import shown
from .._errors import MetricError
from ..hardware._checked_recipe import checked_recipe
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..results._condition import Condition, known_condition
from ..results._corners import Corners, checked_names
from ..results._yield import checked_target
from ._chips import HUNDRED, Chips, counted_chips
from ._metric import ScalarMetric, of_one_number
from ._robustness_curve import curves_over
from ._strengths import Strengths


def corners(
    metric_fn: ScalarMetric,
    tree: Any,
    mismatch: Recipe | Hardware,
    conditions: Mapping[str, Condition | float],
    *,
    target: float,
    chips: int | Chips = HUNDRED,
    batch: Any = None,
    batches: Iterable[Any] | None = None,
    count_of: Callable[[Any], float] | None = None,
    higher_is_better: bool | None = None,
) -> Corners:
    """Measure a network on the same virtual chips under several named conditions, and find the yield under all.

    A chip that is sold must do its work when it is new and a year later, warm and cold. How many do cannot be told from
    the yields under each condition: the chips that fail may be the same ones, or others. Here chip c is the same chip
    under every condition, as along a robustness curve, and a chip counts if it reaches the target under each.

    One program measures all conditions without a time, and one those with a time, because what hardware does
    right after programming is known when it is compiled.

    Args:
        metric_fn: the metric, `metric_fn(tree, batch)`, jittable, giving a scalar.
        tree: the whole tree of nominal values, or a Flax nnx module.
        mismatch: the hardware, or its recipe.
        conditions: the conditions by name: each a `limpet.Condition` (scale, time, read), or a number, which is the
            scale.
        target: the value that a chip is to reach.
        chips: the virtual chips: their number, or `limpet.Chips`.
        batch: the argument of the metric; a pytree of arrays.
        batches: the batches of a test set larger than memory, in place of `batch`; a list or the like, which may be
            gone over twice. See `limpet.robustness_curve`.
        count_of: a function from a batch to its count; see there.
        higher_is_better: True, False or None; see there.

    Returns:
        The values, and the yields. After Ctrl-C: those of the chips that were evaluated under every condition, with a
        warning.

    Raises:
        MetricError: a name or target is none, a condition is mirrored, has a time that the hardware does not know or a
            read that it has no noise for, chips are antithetic; or as of `limpet.robustness_curve`.
        LimpetError: a condition is none; or as of `limpet.robustness_curve`.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(100)}
        >>> device = limpet.Chain((limpet.Gaussian(sigma=0.1), limpet.Drift(exponent=0.01, spread=0.0)))
        >>> hardware = limpet.Hardware(weights=limpet.Part("w", device))
        >>> def mean(tree, _):
        ...     return tree["w"].mean()
        >>> conditions = {"fresh": limpet.Condition(), "a day": limpet.Condition(time="1 day"), "twice": 2.0}
        >>> found = corners(mean, params, hardware, conditions, target=0.9, chips=200)
        >>> {name: share.fraction for name, share in found.yields().items()}
        {'fresh': 1.0, 'a day': 0.9..., 'twice': 1.0}
        >>> worst = found.at("a day").corner("worst")
        >>> bool(jnp.allclose(mean(limpet.freeze(params, hardware, chip=worst), None), worst.value))
        True
    """
    chips, target = counted_chips(chips, "corners"), checked_target(target)
    if chips.antithetic:
        raise MetricError("chips.antithetic: corners name chips, and mirror images have no numbers; leave it out")
    if batches is not None and iter(batches) is batches:
        raise MetricError("batches: they may be gone over more than once: give a list or the like")
    recipe = checked_recipe(mismatch, tree)
    rows = _checked(conditions, recipe)
    metric_fn = of_one_number(metric_fn, "corners are of one metric")
    values: dict[int, NDArray[np.float64]] = {}
    for timed in (False, True):
        places = [place for place, row in enumerate(rows) if (row.time is not None) == timed]
        if not places:
            continue
        drawn = tuple(rows[place] for place in places)
        strengths = Strengths(recipe, drawn, tuple(float(np.asarray(row.scale)) for row in drawn), drawn, "scale")
        found = curves_over(strengths, metric_fn, tree, chips, batch, batches, count_of, higher_is_better)
        (curve,) = found.values()
        values |= dict(zip(places, curve.values, strict=True))
        chips = replace(chips, count=curve.chips)  # fewer, if it was interrupted
    measured = np.array([values[place][: chips.most] for place in range(len(rows))])
    scales = np.array([row.scale for row in rows], np.float64)
    return Corners(tuple(conditions), replace(curve, sigmas=scales, values=measured, conditions=rows, target=target))


def _checked(conditions: Any, recipe: Recipe) -> tuple[Condition, ...]:
    """The conditions as Python numbers."""
    if not isinstance(conditions, Mapping):
        raise MetricError(f"conditions = {shown(conditions)}: allowed is a dict of limpet.Condition by name")
    rows = []
    for name in checked_names(conditions):
        place = f"conditions['{name}']"
        row = known_condition(conditions[name], place)
        if row.mirrored:
            raise MetricError(f"{place}.mirrored: a mirror image is another chip, and no condition; leave it out")
        if row.time is not None and not recipe.timed:
            raise MetricError(
                f"{place}.time = {row.time:g}: no deviation of this hardware changes with time; leave it out, or give "
                f"hardware with a limpet.Drift, a limpet.Relaxation or a limpet.ReadNoise of some read_time"
            )
        if row.read and not recipe.noisy_reads:
            raise MetricError(f"{place}.read = {row.read}: reads of this hardware are all alike; leave it out")
        rows.append(row)
    return tuple(rows)
