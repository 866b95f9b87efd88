"""Programming a device: a spread that depends on what is programmed."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ._draw import Draw
from ._law import Law, at_largest, law_of
from ._to_largest import ToLargest, fraction_of, sign_of


@dataclass(frozen=True)
class Programming(ToLargest):
    """Programming noise: `|value|` becomes `max(0, |value| + m * spread(|value| / m) * n)`; the sign stays.

    m is the largest absolute value of the array, and n is standard normal for each element. How much a device errs
    depends on the conductance it is set to: for phase-change memory least near zero, for filaments (ReRAM) most in the
    middle. A conductance is never negative, hence the bound at 0. With a `mean`, all devices are off by
    `m * mean(|value| / m)` as well, and the spread is that at the conductance to which they are shifted.

    Alone it is a device for each weight, with the sign held elsewhere. Within a `Crossbar`, which holds a weight as the
    difference of two conductances, both devices err.

    Attributes:
        spread: standard deviation as a fraction of m, a law of |value| / m: a number, the coefficients of a polynomial
            (c0, c1, ...), or a law such as `{"kind": "saturation", ...}`. Where it is negative, 0 is meant.
        mean: the shift that all devices have in common, as a fraction of m, a law of |value| / m. It is the same at
            every strength. None for none.

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
    mean: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for law in ("spread",) if self.mean is None else ("spread", "mean"):
            object.__setattr__(self, law, law_of(getattr(self, law), f"{type(self).__name__}.{law}"))

    @property
    def programs(self) -> bool:
        return True

    @property
    def relative_spread(self) -> float:
        return max(at_largest(self.spread), 0.0)

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        value = self.held(draw, value)
        noise, largest = draw.normal(value.shape, strength), self.largest(draw, value)
        if self.mean is not None:
            size = jnp.abs(value)
            value = value + sign_of(value) * jnp.maximum(largest * self.mean(fraction_of(size, largest)), -size)
        return programmed(noise, value, largest, self.spread)


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
