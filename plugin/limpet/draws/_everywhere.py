"""One number for every element of an array, and the sum over all elements that its gradient is.

A gradient that passes through the largest value of a matrix is a sum over the matrix. XLA for CPUs takes such a sum on
one core, without vector instructions, and writes out what it feeds on; a product with a vector of ones takes all cores
and half the time.
"""

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def everywhere(number: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The same number at each place, of a shape. The gradient that comes back is the `total` of those of all places.

    Args:
        number: a scalar.
        shape: the shape of the result.
    """
    return jnp.broadcast_to(number, shape)


@everywhere.defjvp
def _(shape: tuple[int, ...], primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (rate,) = tangents
    # The transpose of `total`: what JAX turns around again on its way back.
    (rates,) = jax.linear_transpose(total, jax.ShapeDtypeStruct(shape, rate.dtype))(rate)
    return everywhere(*primals, shape), rates


SMALL = 2**14
"""The values up to which a plain sum costs no more time than it takes to compile a product."""


def total(values: jax.Array) -> jax.Array:
    """The sum of all values, a scalar."""
    if values.size <= SMALL:
        return values.sum()
    columns = values.shape[-1]
    rows = values.reshape(values.size // max(columns, 1), columns)
    ones = partial(jnp.ones, dtype=values.dtype)
    multiply = partial(jnp.matmul, precision="highest")
    return multiply(ones(len(rows)), multiply(rows, ones(columns)))
