"""How many values of virtual chips would be beyond the limits of their leaves, chip by chip."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..draws._generator import Generator
from ..draws._keys import stream
from ..hardware._condition import Condition
from ..hardware._limits import Limits
from ..hardware._mismatch import Recipe
from ..leaves._adapter import Leaves
from ..leaves._adapters import adapter_of
from ..results._beyond_limits import BeyondLimits
from ._strengths import Strengths


class BeyondLimitsCounter:
    """Counts the values beyond limits of the very chips that a curve measures, without waiting for the device.

    Args:
        strengths: of the curve.
        chips: the numbers of its chips.
        seed: of the chips.
        generator: of the chips.
        shapes: of the network's leaves by path.
    """

    def __init__(
        self,
        strengths: Strengths,
        chips: Sequence[int],
        seed: int,
        generator: Generator,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._strengths, self._chips, self._shapes = strengths, chips, shapes
        self._seed = seed
        self._generator: Generator = generator
        self._limits = limits_of(strengths.recipe)

    def start(self, tree: Any) -> list[dict[str, jax.Array]]:
        """Begin to count.

        Args:
            tree: nominal values, or a module.

        Returns:
            By leaf, how many values of each chip are beyond, shape (chips,); for each strength. Empty where no leaf has
            limits.
        """
        leaves = adapter_of(tree).leaves(tree) if self._limits else {}
        limited = {path: jnp.asarray(leaves[path]) for path in self._limits if path in leaves and np.size(leaves[path])}
        if not limited:
            return []
        key, numbers = stream(self._seed, "chip", self._generator), jnp.asarray(self._chips, jnp.uint32)
        cases, strengths = self._strengths.cases, range(len(self._strengths.sigmas))
        rows = [{name: values[place] for name, values in cases.items()} for place in strengths]
        counted = [beyond_on_chips(self._strengths.recipe, limited, key, row, numbers, False) for row in rows]
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
            chips=len(self._chips),
            axis=self._strengths.axis,
        )


def limits_of(recipe: Recipe) -> dict[str, Limits]:
    """The limits of the leaves that have some, by path."""
    return {path: rule.limits for path, rule in recipe.rules.items() if rule is not None and rule.limits is not None}


@partial(jax.jit, static_argnums=(0, 5))
def beyond_on_chips(
    recipe: Recipe,
    values: Leaves,
    key: jax.Array,
    case: Mapping[str, jax.Array],
    numbers: jax.Array,
    mirrored: bool,
) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
    """By path, of each chip: how many values would be beyond their limits, the smallest and the largest value.

    Args:
        recipe: who deviates, how, and within which limits.
        values: nominal values by path, of leaves that have limits.
        key: of the chips' seed.
        case: the scale, and the time where there is one.
        numbers: of the chips, shape (chips,).
        mirrored: whether the chips are mirror images.

    Returns:
        Arrays of shape (chips,).
    """
    limits = limits_of(recipe)
    condition = Condition(case["scale"], case.get("time"), mirrored=mirrored).checked()

    def on_chip(number: jax.Array) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
        chip = recipe.unlimited().on_leaves(jax.random.fold_in(key, number), values, condition)
        return {path: (limits[path].beyond(value).sum(), value.min(), value.max()) for path, value in chip.items()}

    return jax.lax.map(on_chip, numbers)
