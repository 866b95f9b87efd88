"""Standard normal numbers, at little more than the cost of writing them.

The two 16-bit halves of a random word differ by a number whose distribution is a triangle; an odd polynomial bends that
into a normal one. It has 131,071 values, the outermost at +-4.28: of 10^5 normal numbers two would lie beyond.
"""

import jax
import jax.numpy as jnp

from ._fast_bits import fast

# Of t, t^3, ... t^13. Ideal would be Phi^-1(1 - (1 - t)^2 / 2), whose slope at t = 1 is infinite; these minimise the
# largest of four errors, each as a fraction of what is allowed: distance to the normal distribution function .0006 (of
# .002), excess kurtosis -.004 (of .02), and mass beyond 3 and 4 sigma, 1.4% and 5.7% off (of 5% and 20%). Found by the
# simplex method of Nelder and Mead from a least-squares fit, over the exact distribution of t; the variance is 1.
BEND = (2.4370136, -3.1756356, 24.983751, -94.290192, 189.26079, -186.18544, 71.251540)


def standard_normal(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    """Independent standard normal numbers.

    Args:
        key: a random key, shape (). Under `limpet.fast` the numbers are those described above; under any other
            generator they are `jax.random.normal`'s.
        shape: of the numbers.
        dtype: float32 or float64.
    """
    if _generator(key) != fast:
        return jax.random.normal(key, shape, dtype)
    word = jax.random.bits(key, shape, jnp.uint32)
    triangular = ((word >> 16).astype(jnp.int32) - (word & 0xFFFF).astype(jnp.int32)).astype(dtype) * 2.0**-16
    square = triangular * triangular
    bent = jnp.full_like(square, BEND[-1])
    for coefficient in BEND[-2::-1]:
        bent = bent * square + coefficient
    return triangular * bent


def _generator(key: jax.Array) -> object:
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return jax.random.key_impl(key) if typed else None
