"""Mismatch with heavy tails."""

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from .._checked import refusal
from .._errors import StrengthError
from ..draws._strength import checked_sigma, checked_strength
from ._deviation import Deviation
from ._draw import Draw


@dataclass(frozen=True)
class StudentT(Deviation):
    """Relative mismatch with heavy tails: `value * (1 + sigma * t / s)`, t of Student's distribution, for each element.

    t has `degrees` degrees of freedom, and s = sqrt(degrees / (degrees - 2)) is its standard deviation, so that sigma
    is that of what comes out. A matrix of 48 x 48 transistors in .18 um CMOS was found to deviate so
    (doi:10.5281/zenodo.18133051): a few devices are off by far more than a Gaussian of the same sigma would have it.
    With 5 degrees, one value in 280 is off by more than 4 sigma, where a Gaussian has one in 16,000.

    t is drawn as sqrt(degrees * (u^(-2 / degrees) - 1)) * sin(pi v), u uniform between 0 and 1 and v between -1 and 1:
    R. W. Bailey (1994), "Polar generation of random variates with the t-distribution", Math. Comp. 62:779.

    Attributes:
        sigma: relative standard deviation, a finite number >= 0.
        degrees: the degrees of freedom, above 2; the fewer, the heavier the tails.

    Raises:
        StrengthError: one is no such number.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, StudentT(sigma=0.1, degrees=5))
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.ones(100_000)})["w"]
        >>> print(f"{deviated.std():.2f}", bool(jnp.abs(deviated - 1).max() > 0.7))
        0.10 True
    """

    sigma: float
    degrees: float = 5.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "sigma", checked_sigma(self.sigma, f"{name}.sigma"))
        object.__setattr__(self, "degrees", checked_strength(self.degrees, f"{name}.degrees"))
        if self.degrees <= 2:
            reason = "allowed is a number above 2, below which there is no standard deviation"
            raise refusal(f"{name}.degrees", self.degrees, reason, StrengthError)

    @property
    def elementwise(self) -> bool:
        return True

    def distribution(self, strength: float = 1.0) -> Any:
        from scipy import stats

        sigma = self.sigma * strength
        return stats.t(self.degrees, 1.0, sigma / math.sqrt(self.degrees / (self.degrees - 2))) if sigma else None

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        # The mirror image has the opposite direction and the same radius.
        radial = replace(draw, sign=None).stream("radius").uniform(value.shape, value.dtype)
        angle = draw.stream("direction").uniform(value.shape, value.dtype) * 2 - 1
        radius = jnp.sqrt(jnp.expm1(jnp.log(radial) * (-2 / self.degrees)) * (self.degrees - 2))
        return value + value * (radius * jnp.sin(math.pi * angle)) * (self.sigma * strength)
