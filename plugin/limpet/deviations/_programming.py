"""Programming a device: a spread that depends on what is programmed."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ._draw import Draw
from ._law import law_of
from ._to_largest import ToLargest, fraction_of, sign_of


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

    Example:
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
        largest, size = self.largest(draw, value), jnp.abs(value)
        spread = jnp.maximum(self.spread(fraction_of(size, largest)), 0)
        noise = draw.times_normal(spread, strength) * largest
        # Added to the value, so that where nothing deviates nothing is rounded.
        return value + sign_of(value) * jnp.maximum(noise, -size)
