"""How many values of virtual chips would be beyond the limits of their leaves, chip by chip."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import LimpetError
from ..hardware._limits import Limits
from ..hardware._mismatch import Recipe
from ..leaves._adapter import Leaves
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ..results._beyond_limits import BeyondLimits
from ..results._condition import Condition
from ._chips import Chips
from ._strengths import Strengths


class BeyondLimitsCounter:
    """Counts the values beyond limits of the very chips that a curve measures, without waiting for the device.

    Args:
        strengths: the strengths or times that the curve goes over.
        numbers: the numbers of its chips.
        chips: the virtual chips that these are of.
        shapes: the shapes of the network's leaves by path.
    """

    def __init__(
        self, strengths: Strengths, numbers: Sequence[int], chips: Chips, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._strengths, self._numbers, self._chips, self._shapes = strengths, numbers, chips, shapes
        self._limits = limits_of(strengths.recipe)

    def start(self, tree: Any) -> list[dict[str, jax.Array]]:
        """Begin to count.

        Args:
            tree: the nominal values, or a module.

        Returns:
            By leaf, how many values of each chip are beyond, shape (chips,); for each strength. Empty where no leaf has
            limits.
        """
        values = limited_values(self._limits, tree)
        if not values:
            return []
        recipe, numbers = self._strengths.recipe, jnp.asarray(self._numbers, jnp.uint32)
        counted = [beyond_on_chips(recipe, values, self._chips.key, row, numbers) for row in self._strengths.drawn]
        return [{path: counts for path, (counts, *_) in at_strength.items()} for at_strength in counted]

    def finish(self, counted: Sequence[Mapping[str, np.ndarray]]) -> BeyondLimits | None:
        """What was counted, from what `start` gave, fetched from the device; None where no leaf has limits."""
        if not counted:
            return None
        paths = tuple(counted[0])
        sizes = {path: math.prod(self._shapes[path]) for path in paths}
        return BeyondLimits(
            leaves=paths,
            limits=tuple(self._limits[path].label().removeprefix("limits ") for path in paths),
            sigmas=np.array(self._strengths.sigmas),
            share=np.array([[at[path].mean() / sizes[path] for path in paths] for at in counted]),
            chips_beyond=np.array([[(at[path] > 0).sum() for path in paths] for at in counted], float),
            chips=len(self._numbers),
            axis=self._strengths.axis,
        )


def limits_of(recipe: Recipe) -> dict[str, Limits]:
    """The limits of the leaves that have some, by path."""
    return {path: rule.limits for path, rule in recipe.rules.items() if rule is not None and rule.limits is not None}


def require_every_chip(recipe: Recipe, why: str) -> None:
    """Refuse limits that refuse chips.

    Args:
        recipe: the recipe of the hardware.
        why: the reason why chips beyond limits are needed.

    Raises:
        LimpetError: the policy of a leaf's limits is "error".
    """
    if strict := [path for path, limits in limits_of(recipe).items() if limits.policy == "error"]:
        raise LimpetError(
            f"limits of {listing(strict)} refuse chips beyond them (policy 'error'), {why}: say by policy 'clip' or "
            f"'truncate' what becomes of them, or 'report'"
        )


def limited_values(limits: Mapping[str, Limits], tree: Any) -> Leaves:
    """The nominal values of a network's leaves that have limits, by path."""
    leaves = adapter_of(tree).leaves(tree) if limits else {}
    return {path: jnp.asarray(leaves[path]) for path in limits if path in leaves and np.size(leaves[path])}


def beyond_on_chips(
    recipe: Recipe, values: Leaves, key: jax.Array, condition: Condition, numbers: jax.Array
) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
    """By path, of each chip: how many values would be beyond their limits, the smallest and the largest value.

    Args:
        recipe: who deviates, how, and within which limits.
        values: nominal values by path, of leaves that have limits.
        key: the key of all chips, see `Chips.key`.
        condition: the condition of the chips.
        numbers: the numbers of the chips, shape (chips,).

    Returns:
        Arrays of shape (chips,).
    """
    return _beyond_on_chips(recipe, values, key, condition.checked(), numbers)


@partial(jax.jit, static_argnums=0)
def _beyond_on_chips(
    recipe: Recipe, values: Leaves, key: jax.Array, condition: Condition, numbers: jax.Array
) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
    limits = limits_of(recipe)

    def on_chip(number: jax.Array) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
        chip = recipe.unlimited().on_leaves(jax.random.fold_in(key, number), values, condition)
        return {path: (limits[path].beyond(value).sum(), value.min(), value.max()) for path, value in chip.items()}

    return jax.lax.map(on_chip, numbers)
