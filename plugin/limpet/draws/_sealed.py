"""Seals: what makes a compiler compute a draw in the same way in every program.

The last bit of a sum of products depends on how it is computed. XLA computes what it knows at compile time by other
means than what it learns at run time, joins sums with their neighbours, and fuses a product with the sum that takes it
into one operation that rounds once. Each is right, and each would make a chip's last bits depend on the program in
which it is drawn. A seal adds a zero that no compiler knows to be one to the bits of a number, taken as an integer:
nothing moves across it. (An exclusive or would do once; two of them, one after the other, a compiler leaves out.)
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._jax import is_tracing

KNOWN_ZERO = np.uint32(0)
"""For draws outside of a traced function: each is a program of its own, whose arguments are known at run time only."""


def unknown_zero() -> Any:
    """A zero, uint32 of shape (), which a traced program holds as a value that is known at run time only.

    It is the result of a loop of two turns: XLA evaluates no loop when it compiles, and a program that takes it from
    memory can assume nothing about it. Outside of a traced function it is `KNOWN_ZERO`.
    """
    if not is_tracing():
        return KNOWN_ZERO
    # An accelerator would wait for the host at every turn; there a barrier has to do.
    return jax.lax.platform_dependent(
        cpu=lambda: jax.lax.while_loop(lambda turn: turn > 0, lambda turn: turn >> 1, jnp.uint32(2)),
        default=lambda: jax.lax.optimization_barrier(jnp.uint32(0)),
    )


@jax.custom_jvp
def sealed(value: jax.Array, zero: ArrayLike) -> jax.Array:
    """The same value, to the last bit, behind a seal.

    Args:
        value: floating-point numbers or unsigned integers, of any shape.
        zero: see `unknown_zero`.
    """
    width = jnp.dtype(f"uint{8 * value.dtype.itemsize}")
    bits = jax.lax.bitcast_convert_type(value, width) + jnp.asarray(zero).astype(width)
    return jax.lax.bitcast_convert_type(bits, value.dtype)


@sealed.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    return sealed(*primals), tangents[0]


def sealed_key(key: jax.Array, zero: ArrayLike) -> jax.Array:
    """The same random key behind a seal."""
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key + jnp.asarray(zero)
    return jax.random.wrap_key_data(jax.random.key_data(key) + jnp.asarray(zero), impl=jax.random.key_impl(key))
