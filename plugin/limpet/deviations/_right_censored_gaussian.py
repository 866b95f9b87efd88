"""Noise for training whose upper tail is cut off."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ..draws._strength import checked_strength
from ._deviation import Deviation
from ._draw import Draw


@dataclass(frozen=True)
class RightCensoredGaussian(Deviation):
    """`value * (1 + spread * min(n, bound))`, n standard normal and independent for each element.

    Noise to train with rather than a model of a chip: Yan et al. (2023), "Improving realistic worst-case performance of
    NVCiM DNN accelerators through training with right-censored Gaussian noise" (TRICE), arXiv:2307.15853, report a
    better performance of the worst percent of chips than with Gaussian noise. Measure on the deviation that the chip
    has.

    Attributes:
        spread: standard deviation of the Gaussian before it is censored, relative to the value; a finite number >= 0.
        bound: the largest number, as a multiple of the spread; >= 0.

    Raises:
        StrengthError: one is no such number.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, RightCensoredGaussian(spread=0.2, bound=0.5))
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.ones(100_000)})["w"]
        >>> print(f"{deviated.max():.3f}", bool(deviated.min() < 0.4))
        1.100 True
    """

    spread: float
    bound: float = 1.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "spread", checked_strength(self.spread, f"{name}.spread"))
        object.__setattr__(self, "bound", checked_strength(self.bound, f"{name}.bound"))

    @property
    def elementwise(self) -> bool:
        return True

    @property
    def relative(self) -> bool:
        return True

    @property
    def relative_spread(self) -> float:
        return self.spread

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        spread = self.spread * strength
        return value + value * jnp.minimum(draw.normal(value.shape, spread), spread * self.bound)
