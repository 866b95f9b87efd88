"""Deviations whose size is relative to the largest absolute value of a tensor or of a channel."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .._errors import LimpetError, StrengthError
from ..draws._strength import checked_strength
from ._deviation import Deviation
from ._draw import Draw

Reference = Literal["tensor", "channel"] | float
"""The largest absolute value of the whole leaf, that of each output channel, or a number in the leaf's own unit."""


@dataclass(frozen=True, kw_only=True)
class ToLargest(Deviation):
    """A deviation whose size is relative to m, the largest absolute value: of what a crossbar's conductances stand for.

    Attributes:
        relative_to: "tensor": m is the largest absolute value of the leaf; "channel": of each output channel, along
            `channel_axis`; or m itself, a number in the leaf's unit.
        channel_axis: the axis that counts output channels: -1 for kernels of Flax and weights of Rockpool, of shape
            (inputs, outputs).

    Raises:
        LimpetError: `relative_to` or `channel_axis` is none of these.
        StrengthError: `relative_to` is a number that is not finite and above 0.
    """

    relative_to: Reference = "tensor"
    channel_axis: int = -1

    def __post_init__(self) -> None:
        name, given = type(self).__name__, self.relative_to
        if isinstance(given, str) and given not in ("tensor", "channel"):
            raise LimpetError(f"{name}.relative_to = {given!r}: allowed are 'tensor', 'channel' and a number")
        if not isinstance(given, str):
            object.__setattr__(self, "relative_to", checked_strength(given, f"{name}.relative_to"))
            if not self.relative_to:
                raise StrengthError(f"{name}.relative_to = {given!r}: allowed is a number above 0, the largest value")
        if isinstance(self.channel_axis, bool) or not isinstance(self.channel_axis, int):
            raise LimpetError(f"{name}.channel_axis = {self.channel_axis!r}: allowed is an integer, -1 for the last")

    @property
    def elementwise(self) -> bool:
        return not isinstance(self.relative_to, str)

    def largest(self, draw: Draw, value: jax.Array) -> jax.Array:
        """m, of a shape that goes with the values'. Gradients pass through it, unless they are asked not to.

        Raises:
            LimpetError: the leaf has no axis of channels.
        """
        if not isinstance(self.relative_to, str):
            return jnp.asarray(self.relative_to, value.dtype)
        if not value.size:
            return jnp.zeros((), value.dtype)
        if self.relative_to == "tensor" or not value.ndim:
            return jnp.max(jnp.abs(draw.statistic(value)))
        if not -value.ndim <= self.channel_axis < value.ndim:
            raise LimpetError(
                f"{type(self).__name__}.channel_axis = {self.channel_axis}: a leaf of shape {value.shape} has no such "
                f"axis"
            )
        axes = tuple(axis for axis in range(value.ndim) if axis != self.channel_axis % value.ndim)
        return jnp.max(jnp.abs(draw.statistic(value)), axis=axes, keepdims=True)


def fraction_of(value: jax.Array, largest: jax.Array) -> jax.Array:
    """value / m, between -1 and 1; 0 where all values are 0."""
    return value / jnp.where(largest > 0, largest, 1)


def checked_numbers(deviation: Any, *names: str) -> None:
    """Check that fields of a deviation are finite numbers >= 0, and keep them as floats.

    Raises:
        StrengthError: names the field that is none.
    """
    for name in names:
        number = checked_strength(getattr(deviation, name), f"{type(deviation).__name__}.{name}")
        object.__setattr__(deviation, name, number)


def sign_of(value: jax.Array) -> jax.Array:
    """-1 for negative values and 1 for all others: a device that holds 0 errs upwards."""
    return jnp.where(value < 0, -1, 1).astype(value.dtype)
