"""Relative Gaussian mismatch."""

from dataclasses import dataclass
from typing import Any, Self

import jax

from ..draws._strength import checked_sigma, sigma_of_percent
from ._deviation import Deviation
from ._draw import Draw


@dataclass(frozen=True)
class Gaussian(Deviation):
    """Relative Gaussian mismatch: `value * (1 + sigma * n)`, n standard normal and independent for each element.

    The model of Rockpool's `mismatch_generator` and of Büchel et al. (2021), "Supervised training of spiking neural
    networks for robust deployment on mixed-signal neuromorphic processors", Scientific Reports 11:23376. It is
    unbounded: at sigma 0.33 about one value in 800 changes its sign. Where that cannot happen on the chip (currents,
    capacitances), take `LogNormal` or `TruncatedGaussian`.

    Attributes:
        sigma: relative standard deviation of a value, a finite number >= 0 (0.1: "off by some 10%"). It is static; what
            moves during training is the `scale` that a recipe is called with.

    Raises:
        StrengthError: sigma is NaN, infinite, negative or no number.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Gaussian(sigma=0.1))
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.full(100_000, 2.0)})["w"]
        >>> print(f"{deviated.mean():.2f} {deviated.std():.2f}")
        2.00 0.20
    """

    sigma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", checked_sigma(self.sigma, f"{type(self).__name__}.sigma"))

    @classmethod
    def from_percent(cls, percent_deviation: float = 0.30, sigma_rule: float = 3.0) -> Self:
        """The deviation in Rockpool's terms: `sigma = percent_deviation / sigma_rule`.

        Args:
            percent_deviation: the largest deviation to be met, as a fraction (0.30 is 30%).
            sigma_rule: how many standard deviations that is (with 3, 99.7% of the values deviate less).

        Raises:
            StrengthError: either is not a finite number, `percent_deviation` is negative, or `sigma_rule` is not
                positive.

        Examples:
            >>> Gaussian.from_percent(0.75, 3.0)
            Gaussian(sigma=0.25)
        """
        return cls(sigma_of_percent(percent_deviation, sigma_rule))

    @property
    def elementwise(self) -> bool:
        return True

    def distribution(self, strength: float = 1.0) -> Any:
        from scipy import stats

        sigma = self.sigma * strength
        return stats.norm(1.0, sigma) if sigma else None

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        return value + draw.times_normal(value, self.sigma * strength)
