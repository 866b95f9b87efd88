"""Deviations whose size is relative to the largest absolute value of a tensor or of a channel."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .._checked import number, refusal, whole
from .._errors import LimpetError
from ..draws._everywhere import everywhere, total
from ..draws._strength import checked_strength
from ._deviation import AXES, Deviation
from ._draw import Draw

Reference = Literal["tensor", "channel"] | float
"""The largest absolute value of the whole leaf, that of each output channel, or a number in the leaf's own unit."""


LARGE = 2**17
"""The values from which on a leaf is large: a pass over it takes longer than a condition that spares it."""


@dataclass(frozen=True, kw_only=True)
class ToLargest(Deviation):
    """A deviation whose size is relative to m, the largest absolute value: of what a crossbar's conductances stand for.

    Within a `Chain`, m is that of what the devices were to hold, whatever has befallen them since.

    Attributes:
        relative_to: "tensor": m is the largest absolute value of the leaf; "channel": of each output channel, along
            `channel_axis` (a vector is one channel); or m itself, a number in the leaf's unit. No device holds more
            than that number: weights beyond it are held at it.
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
            raise refusal(f"{name}.relative_to", given, "allowed are 'tensor', 'channel' and a number")
        if not isinstance(given, str):
            object.__setattr__(self, "relative_to", number(f"{name}.relative_to", given, 0, above=True))
        whole(f"{name}.channel_axis", self.channel_axis, *AXES)

    @property
    def elementwise(self) -> bool:
        return not isinstance(self.relative_to, str)

    @property
    def reference(self) -> tuple[Reference, int]:
        """What m is taken of: two deviations for which this is equal have the same m for the same values."""
        return self.relative_to, self.channel_axis if self.relative_to == "channel" else 0

    @property
    def programs(self) -> bool:
        """Whether devices are set anew, so that in a chain what it is given is what they are to hold."""
        return False

    def held(self, draw: Draw, value: jax.Array) -> jax.Array:
        """The values that devices can hold: where m is a number, none beyond it. What happens later may lead there."""
        if isinstance(self.relative_to, str) or draw.smallest is not None or draw.target(value) is not value:
            return value
        return at_most(value, self.relative_to)

    def largest(self, draw: Draw, value: jax.Array) -> jax.Array:
        """m for each value, of the values' shape. Gradients pass through it, unless they are asked not to.

        Take it once and use that: what comes back for all values is then added up once.

        Raises:
            LimpetError: the leaf has no axis of channels.
        """
        value = draw.target(value)
        if not isinstance(self.relative_to, str):
            return jnp.full(value.shape, self.relative_to, value.dtype)
        if draw.largest is not None and draw.largest[0] == self.reference:
            return draw.largest[1]
        if not value.size:
            return jnp.zeros(value.shape, value.dtype)
        axes = tuple(range(value.ndim))
        if self.relative_to == "channel" and value.ndim:
            if self.channel_axis not in range(-value.ndim, value.ndim):
                raise LimpetError(
                    f"{type(self).__name__}.channel_axis = {self.channel_axis}: a leaf of shape {value.shape} has no "
                    f"such axis"
                )
            if value.ndim > 1:
                axes = tuple(axis for axis in axes if axis != self.channel_axis % value.ndim)
        # Behind a barrier, because XLA for CPUs otherwise writes it out once for each value, on one core.
        largest = jax.lax.optimization_barrier(largest_of(draw.statistic(value), axes))
        if not largest.ndim:
            return everywhere(largest, value.shape)
        return jnp.broadcast_to(jnp.expand_dims(largest, axes), value.shape)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def largest_of(values: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """The largest absolute value along some axes, without them. Its gradient goes evenly to all values that have it."""
    return jnp.maximum(jnp.max(values, axis=axes), -jnp.min(values, axis=axes))


@largest_of.defjvp
def _(axes: tuple[int, ...], primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (values,), (rates,) = primals, tangents
    largest = largest_of(values, axes)
    every = len(axes) == values.ndim
    add = total if every else partial(jnp.sum, axis=axes)
    has_it = jnp.abs(values) == (largest if every else jnp.expand_dims(largest, axes))
    holders = _holders(values, largest) if every else add(jnp.where(has_it, jnp.ones_like(values), 0))
    return largest, add(jnp.where(has_it, jnp.sign(values) * rates, 0)) / holders


def _holders(values: jax.Array, largest: jax.Array) -> jax.Array:
    """How many values have the largest absolute value: one, as a rule, and then only its row is looked at.

    In a leaf that is not large all are looked at, because the condition would take longer to compile than it saves.
    """
    if values.size <= LARGE:
        return total(jnp.where(jnp.abs(values) == largest, jnp.ones_like(values), 0))
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    of_row = largest_of(rows, (1,)) == largest

    def of(some: jax.Array) -> jax.Array:
        return total(jnp.where(jnp.abs(some) == largest, jnp.ones_like(some), 0))

    return jax.lax.cond(of_row.sum() == 1, lambda: of(rows[of_row.argmax()]), lambda: of(rows))


def at_most(value: jax.Array, largest: float) -> jax.Array:
    """The values, those beyond a largest absolute value at it. One that has it passes the whole gradient."""
    return jnp.where(jnp.abs(value) > largest, jnp.sign(value) * largest, value)


@jax.custom_jvp
def fraction_of(value: jax.Array, largest: jax.Array) -> jax.Array:
    """value / m, between -1 and 1; 0 where all values are 0."""
    return value / jnp.where(largest > 0, largest, 1)


@fraction_of.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    """Without m^2, which is 0 in float32 where m is 1e-30."""
    (_, largest), (value_rate, largest_rate) = primals, tangents
    fraction = fraction_of(*primals)
    return fraction, (value_rate - fraction * largest_rate) / jnp.where(largest > 0, largest, 1)


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
