"""Uniform mismatch: a tolerance."""

import math
from dataclasses import dataclass
from typing import Any, Self

import jax

from ..draws._strength import checked_sigma, checked_strength
from ._deviation import Deviation
from ._draw import Draw


@dataclass(frozen=True)
class Uniform(Deviation):
    """Relative uniform mismatch: `value * (1 + sqrt(3) * sigma * u)`, u uniform between -1 and 1, for each element.

    It is what a tolerance says ("within 10%") where nothing is known of the distribution within; the model of
    Rockpool's audio front end of Xylo (filters within 5 and 10%).

    Attributes:
        sigma: relative standard deviation, a finite number >= 0; no value is off by more than sqrt(3) * sigma.

    Raises:
        StrengthError: sigma is no such number.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Uniform.within(0.1))
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.ones(100_000)})["w"]
        >>> print(f"{deviated.min():.3f} {deviated.max():.3f}")
        0.900 1.100
    """

    sigma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", checked_sigma(self.sigma, f"{type(self).__name__}.sigma"))

    @classmethod
    def within(cls, tolerance: float) -> Self:
        """The deviation in which no value is off by more than `tolerance`, as a fraction of the value."""
        return cls(checked_strength(tolerance, "tolerance") / math.sqrt(3))

    @property
    def elementwise(self) -> bool:
        return True

    def distribution(self, strength: float = 1.0) -> Any:
        from scipy import stats

        most = math.sqrt(3) * self.sigma * strength
        return stats.uniform(1 - most, 2 * most) if most else None

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        centred = draw.uniform(value.shape, value.dtype) * 2 - 1
        return value + value * (centred * (math.sqrt(3) * self.sigma * strength))
