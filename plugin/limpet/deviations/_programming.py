"""Programming a device: a spread that depends on what is programmed."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ._draw import Draw
from ._law import Law, law_of
from ._to_largest import ToLargest, sign_of


@dataclass(frozen=True)
class Programming(ToLargest):
    """Programming noise: `|value|` becomes `max(0, |value| + m * spread(|value| / m) * n)`; the sign stays.

    m is the largest absolute value of the leaf, and n is standard normal for each element. How much a device errs
    depends on the conductance it is set to: for phase-change memory least near zero, for filaments (ReRAM) most in the
    middle. A conductance is never negative, hence the bound at 0.

    Alone it is a device for each weight, with the sign held elsewhere. Within a `Crossbar`, which holds a weight as the
    difference of two conductances, both devices err.

    Attributes:
        spread: standard deviation as a fraction of m, a law of |value| / m: a number, the coefficients of a polynomial
            (c0, c1, ...), or a law such as `{"kind": "saturation", ...}`. Where it is negative, 0 is meant.

    Raises:
        LimpetError: an argument is none of these.

    Examples:
        >>> import limpet
        >>> programming = Programming(spread=(0.01, 0.08, -0.05))
        >>> mismatch = limpet.Mismatch({"w": True}, programming)
        >>> values = jnp.full(100_000, 0.5).at[0].set(1.0)
        >>> print(f"{mismatch(jax.random.key(0), {'w': values})['w'].std():.3f}")  # .01 + .04 - .0125
        0.038
    """

    spread: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "spread", law_of(self.spread, f"{type(self).__name__}.spread"))

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        noise = draw.normal(value.shape, strength)
        return programmed(noise, value, self.largest(draw, value), self.spread)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def programmed(noise: jax.Array, value: jax.Array, largest: jax.Array, law: Law) -> jax.Array:
    """Values after programming.

    Args:
        noise: random numbers of mean 0.
        value: what was to be programmed.
        largest: the largest absolute value; all three of one shape.
        law: the law of the spread, as `Programming` has it.
    """
    size = jnp.abs(value)
    spread = jnp.maximum(law(size * (1 / jnp.where(largest > 0, largest, 1))), 0)
    # Added to the value, so that where nothing deviates nothing is rounded.
    return value + sign_of(value) * jnp.maximum(noise * spread * largest, -size)


@programmed.defjvp
def _(law: Law, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    """Written out, so that what is multiplied with what comes back is computed where it is used, and never stored.

    With a = |value| / m and s the spread, a value is `value + sign * m * s(a) * noise`, or 0 where that is beyond 0.
    """
    (noise, value, largest), (noise_rate, value_rate, largest_rate) = primals, tangents
    fraction = jnp.abs(value) * (1 / jnp.where(largest > 0, largest, 1))
    spread, slope = jax.jvp(law, (fraction,), (jnp.ones_like(fraction),))
    slope, spread = jnp.where(spread > 0, slope, 0), jnp.maximum(spread, 0)
    above_zero = noise * spread * largest > -jnp.abs(value)
    by_noise, by_value, by_largest = (
        jnp.where(above_zero, rate, 0)
        for rate in (
            sign_of(value) * spread * largest,
            1 + noise * slope,
            sign_of(value) * noise * (spread - fraction * slope),
        )
    )
    rate = by_noise * noise_rate + by_value * value_rate + by_largest * largest_rate
    return programmed(noise, value, largest, law), rate
