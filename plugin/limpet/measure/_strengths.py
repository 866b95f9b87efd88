"""What a curve goes over: relative standard deviations, multiples of what the hardware says, or times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import MetricError
from ..draws._strength import checked_strength
from ..hardware._mismatch import Recipe
from ..results._duration import seconds
from ..results._robustness_curve import Axis


@dataclass(frozen=True)
class Strengths:
    """What a curve goes over, and how a recipe is called for each of its rows.

    Attributes:
        recipe: the recipe to call.
        scales: what to call it with, one for each row.
        sigmas: what stands on the curve's axis: relative standard deviations; the scales themselves where leaves
            deviate at different sigmas; or seconds.
        axis: which of these it is.
    """

    recipe: Recipe
    scales: tuple[float, ...]
    sigmas: tuple[float, ...]
    axis: Axis = "sigma"

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        sigmas: Sequence[float] | None,
        scales: Sequence[float] | None,
        times: Sequence[float | str] | None = None,
    ) -> "Strengths":
        """What a curve goes over, given in one of three ways.

        Raises:
            MetricError: none or several are given, one of them holds nothing, a time is none, or times are given to
                hardware that does not change with time.
            StrengthError: a strength is no finite number >= 0, or sigmas are given to deviations that have none.
        """
        given = {"sigmas": sigmas, "scales": scales, "times": times}
        named = [name for name, values in given.items() if values is not None]
        if len(named) != 1:
            raise MetricError(
                f"give either sigmas (relative standard deviations, the same for every leaf), or scales (multiples of "
                f"what the hardware says), or times (since programming); got {' and '.join(named) or 'none'}"
            )
        if sigmas is not None:
            checked = _checked_strengths("sigmas", sigmas)
            return cls(recipe.with_sigma(1.0), checked, checked)
        if times is not None:
            if not any(rule.deviation.timed for rule in recipe.rules.values() if rule is not None):
                raise MetricError(
                    "times: no deviation of this hardware changes with time, so that the curve would be flat; give "
                    "sigmas or scales, or hardware with a limpet.Drift, a limpet.Relaxation or a limpet.ReadNoise of "
                    "some read_time"
                )
            checked = tuple(seconds(time, f"times[{index}]") for index, time in enumerate(_listed("times", times)))
            return cls(recipe, (1.0,) * len(checked), checked, "time")
        checked = _checked_strengths("scales", scales)
        sigma = recipe.shared_sigma
        if sigma is None:
            return cls(recipe, checked, checked, "scale")
        # 1.5 * 0.1 is 0.15, not 0.15000000000000002.
        return cls(recipe, checked, tuple(float(f"{scale * sigma:.12g}") for scale in checked))

    @property
    def cases(self) -> dict[str, jax.Array]:
        """What a recipe is called with for each row, arrays of shape (rows,): scales, and times where there are any."""
        cases = {"scale": jnp.asarray(self.scales, jnp.result_type(float))}
        return cases | ({"time": jnp.asarray(self.sigmas, jnp.result_type(float))} if self.axis == "time" else {})


def _checked_strengths(name: str, strengths: Any) -> tuple[float, ...]:
    values = _listed(name, strengths)
    return tuple(checked_strength(value, f"{name}[{index}]") for index, value in enumerate(values))


def _listed(name: str, values: Any) -> Sequence[Any]:
    if isinstance(values, str) or np.ndim(values) != 1:
        raise MetricError(f"{name} = {values!r}: allowed is a list of numbers")
    if not len(values):
        raise MetricError(f"{name}: at least 1 is needed, got 0")
    return values
