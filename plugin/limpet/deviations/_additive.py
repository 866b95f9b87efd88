"""Noise of one size for all values of an array."""

from dataclasses import dataclass

import jax

from ._draw import Draw
from ._to_largest import ToLargest, checked_numbers


@dataclass(frozen=True)
class Additive(ToLargest):
    """`value + spread * m * n`, m the largest absolute value of the array and n standard normal for each element.

    On a crossbar, weights are stored as conductances up to a largest one, and programming errs by much the same
    amount wherever in that range a device is: small weights are hit hardest. It is what networks for phase-change
    memory are trained with: Joshi et al. (2020), "Accurate deep neural network inference using computational
    phase-change memory", Nature Communications 11:2473; `AddNormal` of aihwkit, `ADD_NORMAL` and
    `ADD_NORMAL_PER_CHANNEL` of aihwkit-lightning.

    Attributes:
        spread: standard deviation as a fraction of m, a finite number >= 0. It is no relative standard deviation of a
            value: measure over `scales`.
        relative_to: what m is taken of, see `limpet.deviations.ToLargest`; so in all that follow it.

    Raises:
        StrengthError: spread is no such number.
        LimpetError: `relative_to` is none of these.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Additive(spread=0.05))
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.linspace(-2, 2, 100_001)})["w"]
        >>> print(f"{(deviated - jnp.linspace(-2, 2, 100_001)).std():.3f}")
        0.100
    """

    spread: float

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_numbers(self, "spread")

    @property
    def relative_spread(self) -> float:
        return self.spread

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        return value + draw.times_normal(self.largest(draw, value), self.spread * strength)
