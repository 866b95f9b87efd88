"""What a curve goes over: relative standard deviations, multiples of what the hardware says, or times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checked import shown
from .._errors import MetricError
from ..draws._strength import checked_strength
from ..hardware._mismatch import Recipe
from ..results._condition import Condition, known_condition
from ..results._duration import seconds
from ..results._robustness_curve import Axis


@dataclass(frozen=True)
class Strengths:
    """What a curve goes over, and under which condition a recipe is called for each of its rows.

    Attributes:
        recipe: the recipe to call.
        drawn: the condition to call it under, for each row.
        sigmas: the places on the curve's axis: relative standard deviations; the scales themselves where leaves deviate
            at different sigmas; or seconds.
        conditions: the conditions as the hardware itself takes them, whose scale 1 is what it says.
        axis: the name of the axis.
    """

    recipe: Recipe
    drawn: tuple[Condition, ...]
    sigmas: tuple[float, ...]
    conditions: tuple[Condition, ...]
    axis: Axis = "sigma"

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        sigmas: Sequence[float] | None,
        scales: Sequence[float] | None,
        times: Sequence[float | str] | None = None,
        condition: Any = 1.0,
    ) -> "Strengths":
        """What a curve goes over, given in one of three ways, each of which varies one field of a condition.

        Raises:
            MetricError: none or several are given, one of them holds nothing, a time is none, the condition has a value
                of its own where the axis goes, or times are given to hardware that does not change with time.
            StrengthError: a strength is no finite number >= 0, or sigmas are given to deviations that have none.
        """
        base = known_condition(condition)
        given = {"sigmas": sigmas, "scales": scales, "times": times}
        named = [name for name, values in given.items() if values is not None]
        if len(named) != 1:
            raise MetricError(
                f"give either sigmas (relative standard deviations, the same for every leaf), or scales (multiples of "
                f"what the hardware says), or times (since programming); got {' and '.join(named) or 'none'}"
            )
        if times is not None:
            if not recipe.timed:
                raise MetricError(
                    "times: no deviation of this hardware changes with time, so that the curve would be flat; give "
                    "sigmas or scales, or hardware with a limpet.Drift, a limpet.Relaxation or a limpet.ReadNoise of "
                    "some read_time"
                )
            if base.time is not None:
                raise MetricError(
                    f"condition.time = {base.time:g} beside times: a curve over times has them from there"
                )
            checked = tuple(seconds(time, f"times[{index}]") for index, time in enumerate(_listed("times", times)))
            rows = tuple(base._replace(time=time) for time in checked)
            return cls(recipe, rows, checked, rows, "time")
        if base.scale != 1:
            raise MetricError(
                f"condition.scale = {base.scale:g} beside {named[0]}: the curve has its scales from there"
            )
        if sigmas is not None and any(rule and rule.random_products for rule in recipe.rules.values()):
            raise MetricError(
                "sigmas: products of this hardware draw noise, gains or offsets of their own, whatever sigma is; "
                "give scales, which are factors on all that is random"
            )
        sigma = recipe.shared_sigma
        checked = _checked_strengths(named[0], given[named[0]])
        drawn = tuple(base._replace(scale=strength) for strength in checked)
        if sigmas is not None:
            own = tuple(base._replace(scale=_rounded(value / sigma if sigma else value)) for value in checked)
            return cls(recipe.with_sigma(1.0), drawn, checked, own)
        if sigma is None:
            return cls(recipe, drawn, checked, drawn, "scale")
        return cls(recipe, drawn, tuple(_rounded(scale * sigma) for scale in checked), drawn)

    def cases(self, read: int | None = None) -> Condition:
        """The conditions of all rows as one of arrays, shape (rows,); None for fields that none of them uses.

        Args:
            read: the number of the read in place of theirs; None for their own.
        """
        dtype = jnp.result_type(float)
        times = [row.time for row in self.drawn]
        return Condition(
            jnp.asarray([row.scale for row in self.drawn], dtype),
            None if times[0] is None else jnp.asarray(times, dtype),
            jnp.asarray([row.read if read is None else read for row in self.drawn], jnp.uint32),
            jnp.asarray([row.mirrored for row in self.drawn]) if self.drawn[0].mirrored else None,
        )


def _rounded(value: float) -> float:
    """1.5 * 0.1 is 0.15, not 0.15000000000000002."""
    return float(f"{value:.12g}")


def _checked_strengths(name: str, strengths: Any) -> tuple[float, ...]:
    values = _listed(name, strengths)
    return tuple(checked_strength(value, f"{name}[{index}]") for index, value in enumerate(values))


def _listed(name: str, values: Any) -> Sequence[Any]:
    if isinstance(values, str) or np.ndim(values) != 1:
        raise MetricError(f"{name} = {shown(values)}: allowed is a list of numbers")
    if not len(values):
        raise MetricError(f"{name}: at least 1 is needed, got 0")
    return values
