"""Weights of few levels."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from .._checked import refusal, whole
from .._errors import LimpetError
from ._draw import Draw
from ._to_largest import ToLargest, at_most


@dataclass(frozen=True)
class Quantize(ToLargest):
    """Rounding to evenly spaced levels, symmetric about 0: `step * round(value / step)`, step = m / half.

    m is the largest absolute value and half = (levels - 1) / 2, so that m itself and 0 are levels. Within a `Crossbar`,
    conductances are rounded to half + 1 levels from the smallest to the largest one. The strength does not matter:
    nothing here is random. Gradients pass through the rounding as if it were not there (Bengio et al.,
    2013, arXiv:1308.3432), and through m as they should.

    Attributes:
        levels: how many levels there are, an odd number from 3 on; or give `bits`.
        bits: 2 ** bits - 1 levels: 8 bits are -127 to 127. From 2 to 16.
        relative_to: the reference of m, as `ToLargest` has it; values beyond a number given are rounded to it.

    Raises:
        LimpetError: an argument is none of these, or neither or both of `levels` and `bits` are given.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Quantize(levels=5))
        >>> mismatch(jax.random.key(0), {"w": jnp.array([-1.0, 0.1, 0.3, 0.9, 1.0])})["w"].tolist()
        [-1.0, 0.0, 0.5, 1.0, 1.0]
    """

    levels: int | None = None
    bits: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        if (self.levels is None) == (self.bits is None):
            raise LimpetError(f"{name}: give either levels or bits")
        for key, low, high in (("levels", 3, 2**16 - 1), ("bits", 2, 16)):
            if getattr(self, key) is not None:
                whole(f"{name}.{key}", getattr(self, key), low, high)
        if self.levels is not None and not self.levels % 2:
            raise refusal(f"{name}.levels", self.levels, "allowed is an odd number, so that 0 is a level")

    @property
    def random(self) -> bool:
        return False

    @property
    def programs(self) -> bool:
        return True

    @property
    def half(self) -> int:
        """How many levels there are above 0."""
        return ((self.levels if self.levels is not None else 2 ** (self.bits or 0) - 1) - 1) // 2

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        largest = self.largest(draw, value)
        if not isinstance(self.relative_to, str):
            value = at_most(value, self.relative_to)
        if not draw.smallest:
            return quantized(value, largest, self.half)
        above = jnp.where(value < draw.smallest, 0, value - draw.smallest)
        return draw.smallest + quantized(above, largest - draw.smallest, self.half)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def quantized(value: jax.Array, largest: jax.Array, half: int) -> jax.Array:
    """Values rounded to the nearest of `2 * half + 1` levels between -largest and largest.

    Args:
        value: none beyond the largest.
        largest: the largest value for each, of the values' shape.
        half: how many levels there are above 0.
    """
    lift = lift_of(largest)
    return jnp.round(place_of(value, largest, half)) * (largest * lift / half) * (1 / lift)


@quantized.defjvp
def _(half: int, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (value, largest), (value_rate, largest_rate) = primals, tangents
    place = place_of(value, largest, half)
    return quantized(value, largest, half), value_rate + (jnp.round(place) - place) * (largest_rate / half)


def place_of(value: jax.Array, largest: jax.Array, half: int) -> jax.Array:
    """Where between the levels -half and half a value lies; 0 where all values are 0."""
    # A division for each value takes longer than all else.
    lift = lift_of(largest)
    return value * lift * (half / jnp.where(largest > 0, largest * lift, 1))


def lift_of(largest: jax.Array) -> jax.Array:
    """A power of two that keeps steps, and numbers of steps, within what float32 holds where all values are tiny."""
    return jnp.where(largest < 2.0**-64, jnp.asarray(2.0**64, largest.dtype), 1)


@jax.custom_jvp
def rounded_to(value: jax.Array, level: jax.Array) -> jax.Array:
    """The level, with the gradient of the value that was rounded to it."""
    return level


@rounded_to.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    return primals[1], tangents[0]
