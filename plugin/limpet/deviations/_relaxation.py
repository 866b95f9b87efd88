"""Conductances that spread after programming."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ._draw import Draw
from ._law import law_of
from ._to_largest import ToLargest, sign_of


@dataclass(frozen=True)
class Relaxation(ToLargest):
    """Relaxation of filaments: `|value|` becomes `|value| + m * (mean(l) + spread(l) * n)`, l = ln(time).

    Once a filament (ReRAM) is formed, its ions spread; conductances shift and spread by amounts that grow with the
    logarithm of time and not with the conductance. m is the largest absolute value, and no conductance leaves the range
    of devices: from 0 (within a `Crossbar`, from its smallest conductance) to m. Before one second, nothing happens.

    Attributes:
        mean: the shift as a fraction of m, as a law of the logarithm of time in seconds (see `Programming.spread`).
        spread: the standard deviation of that shift, as a law of the same logarithm.

    Raises:
        LimpetError: an argument is none of these.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Relaxation(mean=(0.0, -0.001), spread=0.01))
        >>> values = jnp.full(100_000, 0.5).at[0].set(1.0)
        >>> deviated = mismatch(jax.random.key(0), {"w": values}, limpet.Condition(time=86400.0))["w"]
        >>> print(f"{deviated.mean():.3f} {deviated.std():.3f}")
        0.489 0.010
    """

    mean: Any
    spread: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        for law in ("mean", "spread"):
            object.__setattr__(self, law, law_of(getattr(self, law), f"{name}.{law}"))

    @property
    def timed(self) -> bool:
        return True

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        value = self.held(draw, value)
        time, largest = draw.seconds(value.dtype), self.largest(draw, value)
        elapsed = jnp.log(jnp.maximum(time, 1))
        mean, spread = self.mean(elapsed), jnp.maximum(self.spread(elapsed), 0)
        size, smallest = jnp.abs(value), largest * (draw.smallest or 0)
        moved = largest * (mean + draw.normal(value.shape, spread * strength))
        moved = jnp.clip(moved, smallest - size, largest - size)
        return value + sign_of(value) * jnp.where(time >= 1, moved, 0)
