"""Conductances that fall with time."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from .._checked import number
from ._draw import Draw
from ._law import law_of
from ._power_of_two import power_of_two
from ._to_largest import ToLargest, fraction_of


@dataclass(frozen=True)
class Drift(ToLargest):
    """Drift of phase-change memory: `value * ((time + start) / start) ** -nu`, nu = |exponent(a) + spread(a) * n|.

    The amorphous part of the material relaxes, and the conductance falls as a power of time. The exponent is drawn once
    for each device (n standard normal), and depends on the conductance that it was set to: a = |target| / m. So a chip
    keeps its exponents, and one chip can be followed through time.

    Attributes:
        exponent: mean of nu, a law of a (see `Programming.spread`).
        spread: standard deviation of nu, a law of a.
        start: the seconds after programming at which drift begins to count (t0 of the literature).

    Raises:
        StrengthError: `start` is no finite number above 0.
        LimpetError: another argument is none of these.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Drift(exponent=0.05, spread=0.0, start=20.0))
        >>> day = limpet.Condition(time="1 day")
        >>> print(f"{mismatch(jax.random.key(0), {'w': jnp.ones(3)}, day)['w'][0]:.3f}")  # 4321 ** -.05
        0.658
    """

    exponent: Any
    spread: Any
    start: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        for law in ("exponent", "spread"):
            object.__setattr__(self, law, law_of(getattr(self, law), f"{name}.{law}"))
        object.__setattr__(self, "start", number(f"{name}.start", self.start, 0, above=True))

    @property
    def timed(self) -> bool:
        return True

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        value = self.held(draw, value)
        fraction = fraction_of(jnp.abs(draw.target(value)), self.largest(draw, value))
        random = draw.times_normal(jnp.maximum(self.spread(fraction), 0), strength)
        exponent = jnp.abs(self.exponent(fraction) + random)
        doublings = jnp.log1p(draw.seconds(value.dtype) / self.start) / math.log(2)
        return value * power_of_two(jnp.maximum(-exponent * doublings, -126))
