"""Weights made of binary-weighted currents, each with a mismatch of its own."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .._checked import whole
from ._draw import Draw
from ._log_normal import sigma_of_logarithm
from ._power_of_two import power_of_two
from ._quantize import rounded_to
from ._to_largest import ToLargest, at_most, checked_numbers, fraction_of, sign_of


@dataclass(frozen=True)
class BinaryBranches(ToLargest):
    """A synapse of DYNAP-SE2: its weight is a sum of binary-weighted currents, switched on by the bits of a mask.

    |value| is rounded to k / (2^bits - 1) of the largest absolute value m, k = 0, 1, ..., and bit j of k switches on a
    current of m * 2^j / (2^bits - 1). Each current of each synapse deviates on its own, log-normally with median 1 and
    relative standard deviation `spread`: so a weight of one branch deviates by that, one that several branches share by
    less, and one that is 0 not at all. Gradients pass through the rounding as if it were not there.

    Attributes:
        spread: relative standard deviation of one branch's current, a finite number >= 0.
        bits: how many branches, from 1 to 8. On DYNAP-SE2, 4.

    Raises:
        StrengthError: spread is no such number.
        LimpetError: another argument is none of these.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, BinaryBranches(spread=0.1))
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.full(100_000, 15.0)})["w"]
        >>> print(f"{deviated.std() / 15:.3f}")  # .1 * sqrt(1 + 4 + 16 + 64) / 15
        0.062
    """

    spread: float
    bits: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_numbers(self, "spread")
        whole(f"{type(self).__name__}.bits", self.bits, 1, 8)

    @property
    def programs(self) -> bool:
        return True

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        steps = 2**self.bits - 1
        largest = self.largest(draw, value)
        fraction = at_most(fraction_of(value, largest), 1.0)
        place = jnp.round(jax.lax.stop_gradient(fraction) * steps)
        mask = jnp.abs(place).astype(jnp.int32)
        exponent = sigma_of_logarithm(self.spread * strength) / math.log(2)
        moved = jnp.zeros_like(value)
        for bit in range(self.bits):
            factor = power_of_two(draw.stream(f"branch {bit}").normal(value.shape, exponent))
            moved += jnp.where((mask >> bit) & 1, (factor - 1) * 2**bit, 0)
        return largest * (rounded_to(fraction, place / steps) + sign_of(value) * (moved / steps))
