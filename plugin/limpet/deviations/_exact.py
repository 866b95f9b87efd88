"""Values that do not deviate."""

from dataclasses import dataclass

import jax

from ._deviation import Deviation
from ._draw import Draw


@dataclass(frozen=True)
class Exact(Deviation):
    """Values as they are: no draw, whatever the strength.

    It is for weights that do not deviate and whose products do, behind converters and under noise: a `limpet.Part` with
    a product and no deviation has it.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Exact())
        >>> mismatch(jax.random.key(0), {"w": jnp.array([0.1, 2.0])})["w"].tolist()
        [0.10000000149011612, 2.0]
    """

    @property
    def elementwise(self) -> bool:
        return True

    @property
    def relative_spread(self) -> float:
        return 0.0

    @property
    def random(self) -> bool:
        return False

    @property
    def level(self) -> str:
        return ""

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        return value
