"""Devices that no longer change."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .._errors import StrengthError
from ._draw import Draw
from ._to_largest import ToLargest, checked_numbers, sign_of


@dataclass(frozen=True)
class Stuck(ToLargest):
    """Defective devices: some are stuck at 0, some at the largest value, some anywhere between.

    Strength multiplies the fractions (together they end at 1): a curve over scales is one over the share of defects.
    Devices are stuck at the same places at every strength, and more of them as it grows.

    Attributes:
        at_zero: fraction of the devices that hold 0, between 0 and 1.
        at_largest: fraction that hold the largest absolute value, with the weight's sign.
        at_random: fraction that hold any value up to the largest one, with the weight's sign.

    Raises:
        StrengthError: a fraction is none, or together they are 0 or exceed 1.
        LimpetError: another argument is none of these.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Stuck(at_zero=0.02, at_largest=0.01))
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.full(100_000, 0.5).at[0].set(1.0)})["w"]
        >>> print(f"{(deviated == 0).mean():.2f} {(deviated == 1).mean():.2f}")
        0.02 0.01
    """

    at_zero: float = 0.0
    at_largest: float = 0.0
    at_random: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        checked_numbers(self, "at_zero", "at_largest", "at_random")
        if not 0 < self.at_zero + self.at_largest + self.at_random <= 1:
            raise StrengthError(
                f"{name}: at_zero + at_largest + at_random = {self.at_zero + self.at_largest + self.at_random}: "
                f"allowed is more than 0, and at most 1, the share of all devices"
            )

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        largest = sign_of(value) * self.largest(draw, value)
        total = self.at_zero + self.at_largest + self.at_random
        strength = jnp.minimum(strength, 1 / total)
        place = draw.uniform(value.shape, value.dtype)
        anywhere = draw.stream("anywhere").uniform(value.shape, value.dtype) * largest
        # Rare kinds keep their places as the strength grows: each counts down from its own end of what is stuck.
        result = jnp.where(place < total * strength, anywhere, value)
        result = jnp.where(place < (self.at_zero + self.at_largest) * strength, largest, result)
        return jnp.where(place < self.at_zero * strength, jnp.zeros((), value.dtype), result)
