"""Deviations whose size is relative to the largest absolute value of an array."""

from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp

from .._checked import number, refusal
from ..arrays._array import Layout
from ..arrays._reductions import Per, reduced, spread, total
from ..draws._strength import checked_strength
from ._deviation import Deviation
from ._draw import Draw

Reference = Per | float
"""What the largest absolute value is taken of, or that value itself, a number in the leaf's own unit."""

LARGE = 2**17
"""The values from which on a leaf is large: a pass over it takes longer than a condition that spares it."""


@dataclass(frozen=True, kw_only=True)
class ToLargest(Deviation):
    """A deviation whose size is relative to m, the largest absolute value: of what a crossbar's conductances stand for.

    Within a `Chain`, m is that of what the devices were to hold, whatever has befallen them since.

    Attributes:
        relative_to: "array": m is the largest absolute value on each array, as `limpet.Array` says where these are;
            "column": on each column of an array, which is one output (a vector is one column); "tensor": in the whole
            leaf, even if it is on several arrays; or m itself, a number in the leaf's unit. No device holds more than
            that number: weights beyond it are held at it.

    Raises:
        LimpetError: `relative_to` is none of these.
        StrengthError: `relative_to` is a number that is not finite and above 0.
    """

    relative_to: Reference = "array"

    def __post_init__(self) -> None:
        name, given = type(self).__name__, self.relative_to
        if isinstance(given, str) and given not in get_args(Per):
            raise refusal(f"{name}.relative_to", given, "allowed are 'array', 'column', 'tensor' and a number")
        if not isinstance(given, str):
            object.__setattr__(self, "relative_to", number(f"{name}.relative_to", given, 0, above=True))

    @property
    def elementwise(self) -> bool:
        return not isinstance(self.relative_to, str)

    @property
    def arranged(self) -> bool:
        return self.relative_to in ("array", "column")

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
        """
        value = draw.target(value)
        if isinstance(per := self.relative_to, float):
            return jnp.full(value.shape, per, value.dtype)
        if draw.largest is not None and draw.largest[0] == per:
            return draw.largest[1]
        if not value.size:
            return jnp.zeros(value.shape, value.dtype)
        layout = draw.array.layout(value.shape)
        # Behind a barrier, because XLA for CPUs otherwise writes it out once for each value, on one core.
        return spread(jax.lax.optimization_barrier(largest_of(draw.statistic(value), layout, per)), layout, per)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def largest_of(values: jax.Array, layout: Layout, per: Per) -> jax.Array:
    """The largest absolute value of each array, column or leaf, as `reduced` gives it. Its gradient goes evenly to all
    values that have it."""
    return jnp.maximum(reduced(values, layout, per, jnp.max), -reduced(values, layout, per, jnp.min))


@largest_of.defjvp
def _(layout: Layout, per: Per, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (values,), (rates,) = primals, tangents
    largest = largest_of(values, layout, per)
    has_it = jnp.abs(values) == spread(largest, layout, per)
    rate = total(jnp.where(has_it, jnp.sign(values) * rates, 0), layout, per)
    return largest, rate / _holders(values, has_it, largest, layout, per)


def _holders(values: jax.Array, has_it: jax.Array, largest: jax.Array, layout: Layout, per: Per) -> jax.Array:
    """How many values have the largest absolute value: one, as a rule, and then only its row is looked at.

    In a leaf that is not large all are looked at, because the condition would take longer to compile than it saves; and
    where there are several devices, which would have to hand that row to each other.
    """

    def of(some: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(some) == largest.ravel(), jnp.ones_like(some), 0).sum().reshape(largest.shape)

    if largest.size > 1 or values.size <= LARGE or jax.device_count() > 1:
        return total(jnp.where(has_it, jnp.ones_like(values), 0), layout, per)
    rows = values.reshape(-1, values.shape[-1])
    of_row = jnp.maximum(rows.max(1), -rows.min(1)) == largest.ravel()
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
