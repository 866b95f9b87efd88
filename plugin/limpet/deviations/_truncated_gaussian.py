"""Gaussian mismatch that ends at a largest deviation."""

import math
from dataclasses import dataclass
from typing import Any

import jax

from .._checked import refusal
from .._errors import StrengthError
from ..draws._strength import checked_sigma, checked_strength
from ..draws._truncated_normal import cut_for
from ._deviation import Deviation
from ._draw import Draw


@dataclass(frozen=True)
class TruncatedGaussian(Deviation):
    """Relative Gaussian mismatch in which no value is off by more than `bound * sigma`.

    `value * (1 + sigma * n / k)`, where n is a standard normal number given that |n| <= c, and independent for each
    element; k(c) = sqrt(1 - 2 c phi(c) / (2 Phi(c) - 1)) is its standard deviation (phi and Phi are the normal density
    and distribution function), and c is chosen so that c / k(c) = bound. So sigma is the standard deviation of what
    comes out, not of the Gaussian that was cut. With `bound * sigma * scale < 1` no value changes its sign.

    Attributes:
        sigma: relative standard deviation of the deviated value, a finite number >= 0.
        bound: the largest deviation as a multiple of sigma, above sqrt(3) = 1.7321 (a uniform distribution, beyond
            which cutting cannot go) and at most 8. 3 is what Rockpool's `sigma_rule` means.

    Raises:
        StrengthError: sigma or bound is not such a number.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> mismatch = limpet.Mismatch({"w": True}, TruncatedGaussian(sigma=0.1, bound=2.0))
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.ones(100_000)})["w"]
        >>> print(f"{deviated.std():.3f} {deviated.min():.3f} {deviated.max():.3f}")
        0.100 0.800 1.200
    """

    sigma: float
    bound: float = 3.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "sigma", checked_sigma(self.sigma, f"{name}.sigma"))
        object.__setattr__(self, "bound", checked_strength(self.bound, f"{name}.bound"))
        if not math.sqrt(3) * (1 + 1e-6) < self.bound <= 8:
            reason = "allowed is a number above sqrt(3) = 1.7321, up to 8"
            raise refusal(f"{name}.bound", self.bound, reason, StrengthError)

    @property
    def elementwise(self) -> bool:
        return True

    def distribution(self, strength: float = 1.0) -> Any:
        from scipy import stats

        sigma, cut = self.sigma * strength, cut_for(self.bound)
        return stats.truncnorm(-cut.place, cut.place, 1.0, sigma / cut.spread) if sigma else None

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        return value + value * draw.truncated_normal(value.shape, self.sigma * strength, self.bound)
