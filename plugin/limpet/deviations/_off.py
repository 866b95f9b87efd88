"""A deviation that is switched off."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ._draw import Draw
from ._rescaled import Rescaled


@dataclass(frozen=True)
class Off(Rescaled):
    """A deviation at strength 0: it keeps its place in a chain, so that what is drawn beside it stays the same.

    It is what `Hardware.without` makes of a level.

    Attributes:
        deviation: what is switched off. What it does that is not random, such as rounding, it still does.

    Raises:
        LimpetError: it is none.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Off(limpet.Gaussian(sigma=0.1)))
        >>> mismatch(jax.random.key(0), {"w": jnp.ones(2)})["w"].tolist()
        [1.0, 1.0]
    """

    @property
    def elementwise(self) -> bool:
        return self.deviation.elementwise

    @property
    def random(self) -> bool:
        return False

    @property
    def level(self) -> str:
        return ""

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        return self.deviation.deviate(draw, value, jnp.zeros_like(strength))
