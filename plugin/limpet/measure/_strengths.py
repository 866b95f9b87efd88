"""The strengths of a curve: relative standard deviations, or multiples of what the hardware says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import MetricError
from ..draws._strength import checked_strength
from ..hardware._mismatch import Recipe


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
    def of(cls, recipe: Recipe, sigmas: Sequence[float] | None, scales: Sequence[float] | None) -> "Strengths":
        """Strengths given one way or the other.

        Raises:
            MetricError: both or neither are given, or there is none.
            StrengthError: one is no finite number >= 0, or sigmas are given to deviations that have none.
        """
        if sigmas is not None and scales is None:
            checked = _checked_strengths("sigmas", sigmas)
            return cls(recipe.with_sigma(1.0), checked, checked)
        if scales is not None and sigmas is None:
            checked = _checked_strengths("scales", scales)
            sigma = recipe.shared_sigma
            if sigma is None:
                return cls(recipe, checked, checked, "scale")
            # 1.5 * 0.1 is 0.15, not 0.15000000000000002.
            return cls(recipe, checked, tuple(float(f"{scale * sigma:.12g}") for scale in checked))
        raise MetricError(
            "give either sigmas (relative standard deviations, the same for every leaf) or scales (multiples of what "
            "the hardware says): the strengths of the curve"
        )

    @property
    def cases(self) -> jax.Array:
        """The scales, shape (strengths,)."""
        return jnp.asarray(self.scales, jnp.result_type(float))


def _checked_strengths(name: str, strengths: Sequence[float]) -> tuple[float, ...]:
    if np.ndim(strengths) != 1:
        raise MetricError(f"{name} = {strengths!r}: allowed is a list of numbers")
    checked = tuple(checked_strength(value, f"{name}[{index}]") for index, value in enumerate(strengths))
    if not checked:
        raise MetricError(f"{name}: at least 1 is needed, got 0")
    return checked
