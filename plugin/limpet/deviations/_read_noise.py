"""Noise of each read."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .._checked import one_of, refusal
from .._errors import StrengthError
from ._draw import Draw
from ._law import at_largest, law_of
from ._to_largest import ToLargest, checked_numbers, fraction_of, sign_of


@dataclass(frozen=True)
class ReadNoise(ToLargest):
    """Noise from cycle to cycle: `|value|` becomes `max(0, |value| * (1 + spread(a) * f * n))`, new at every read.

    All other deviations are of the device and stay what they are on one chip. This one is drawn anew for each read: a
    recipe is called with the number of the read, `mismatch(key, tree, limpet.Condition(read=3))`.

    a is the conductance after programming as a fraction of the largest. f is 1; with a `read_time`, the noise is 1/f
    noise, which a read of some duration gathers the more, the longer ago programming was:
    f = sqrt(ln((time + start + read_time) / (2 read_time))).

    Attributes:
        spread: standard deviation as a fraction of the value, a law of a (see `Programming.spread`).
        of: "value", or "largest": the spread is a fraction of the largest value instead.
        read_time: the duration of a read in seconds, for 1/f noise; None for noise that does not depend on time.
        start: the seconds after programming at which the noise is first read (t0 of the literature).

    Raises:
        StrengthError: a time is no such number, or `read_time` not above 0 and below `start`.
        LimpetError: another argument is none of these.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, ReadNoise(spread=0.01))
        >>> first, second = (
        ...     mismatch(jax.random.key(0), {"w": jnp.ones(9)}, limpet.Condition(read=read))["w"] for read in (0, 1)
        ... )
        >>> bool((first != second).all())
        True
    """

    spread: Any
    of: Literal["value", "largest"] = "value"
    read_time: float | None = None
    start: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        object.__setattr__(self, "spread", law_of(self.spread, f"{name}.spread"))
        checked_numbers(self, "start")
        one_of(f"{name}.of", self.of, ("value", "largest"))
        if self.read_time is not None:
            checked_numbers(self, "read_time")
            if not 0 < self.read_time < self.start:
                reason = f"allowed is a number of seconds above 0 and below start = {self.start}"
                raise refusal(f"{name}.read_time", self.read_time, reason, StrengthError)

    @property
    def timed(self) -> bool:
        return self.read_time is not None

    @property
    def noisy_reads(self) -> bool:
        return True

    @property
    def relative_spread(self) -> float:
        return max(at_largest(self.spread), 0.0)

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        value = self.held(draw, value)
        largest = self.largest(draw, value)
        spread = jnp.maximum(self.spread(fraction_of(jnp.abs(draw.programmed(value)), largest)), 0)
        if self.read_time is not None:
            since = draw.seconds(value.dtype) + self.start
            strength = strength * jnp.sqrt(jnp.log((since + self.read_time) / (2 * self.read_time)))
        noise = draw.of_read().times_normal(spread, strength)
        if self.of == "largest":
            return value + sign_of(value) * jnp.maximum(largest * noise, -jnp.abs(value))
        return value + value * jnp.maximum(noise, -1)
