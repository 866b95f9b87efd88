"""Weights left out at random."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .._checked import number
from ..draws._strength import checked_strength
from ._deviation import Deviation
from ._draw import Draw


@dataclass(frozen=True)
class DropConnect(Deviation):
    """A share of the weights is 0; the others are not made larger for it.

    Noise to train with: L. Wan et al. (2013), "Regularization of neural networks using DropConnect", ICML. On a chip,
    missing connections are `Stuck(at_zero=...)`, which is the same draw.

    Attributes:
        fraction: the share of the weights that is left out, between 0 and 1; strength multiplies it, up to 1.

    Raises:
        StrengthError: it is no such number.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, DropConnect(fraction=0.1))
        >>> print(f"{(mismatch(jax.random.key(0), {'w': jnp.ones(100_000)})['w'] == 0).mean():.2f}")
        0.10
    """

    fraction: float

    def __post_init__(self) -> None:
        name = f"{type(self).__name__}.fraction"
        object.__setattr__(self, "fraction", number(name, checked_strength(self.fraction, name), 0, 1))

    @property
    def elementwise(self) -> bool:
        return True

    @property
    def relative(self) -> bool:
        return True

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        dropped = draw.uniform(value.shape, value.dtype) < self.fraction * strength
        return jnp.where(dropped, jnp.asarray(draw.smallest or 0, value.dtype), value)
