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
    A device that is stuck at some strength is stuck in the same way at every larger one, where more of them are.

    Within a `Chain`, values and signs are those that the devices were to hold. Within a `Crossbar`, a device that is
    stuck at zero holds the smallest conductance, as one in its state of high resistance does.

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
        value = self.held(draw, value)
        largest, total = self.largest(draw, value), self.at_zero + self.at_largest + self.at_random
        smallest = largest * (draw.smallest or 0)
        place, kind, share = (
            stream.uniform(value.shape, value.dtype) for stream in (draw, draw.stream("kind"), draw.stream("anywhere"))
        )
        level = smallest + share * (largest - smallest)
        level = jnp.where(kind < (self.at_zero + self.at_largest) / total, largest, level)
        level = jnp.where(kind < self.at_zero / total, smallest, level)
        return jnp.where(place < total * strength, sign_of(draw.target(value)) * level, value)
