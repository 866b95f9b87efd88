"""Normal numbers, at little more than the cost of writing them.

The four bytes of a random word, two added and two subtracted, make a symmetric bell: the distribution of a sum of four
uniform numbers, whose middle is near a normal one's. An odd polynomial bends it into a normal one out to the tails.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ._fast import fast

# Of t, t^3, t^5, t^7, for t as `_bell` makes it. They minimise the largest of five errors, each as a fraction of what
# is allowed: distance to the normal distribution function .0007 (of .002), excess kurtosis -.007 (of .02), and mass
# beyond 3, 3.5 and 4 sigma, .5%, 3.8% and 7.3% off (of 5%, 10% and 20%); the variance is 1. The largest number is 4.94:
# of 10^6 normal ones, one would lie beyond. `tests/benchmarks/fit_bend.py` finds them.
BEND = (3.30838358, 0.86000022, -1.62192042, 2.45403615)

EVEN_BYTES = 0x00FF00FF
# The upper bytes' difference counts 67, the lower ones' 61: not the same, so that sums which would coincide do not.
WEIGHTS = 61 << 16 | 67


def times_normal(key: jax.Array, value: jax.Array, sigma: jax.Array) -> jax.Array:
    """`value * sigma * n`, n standard normal and independent for each element.

    One function, because the product takes two operations less for each element when it is made inside.

    Args:
        key: a random key, shape (). Under `limpet.fast` the numbers are those described above; under any other
            generator they are `jax.random.normal`'s.
        value: of any shape, float32 or float64.
        sigma: a scalar of value's dtype; a negative one gives the same draw mirrored.
    """
    if not _is_fast(key):
        return (sigma * jax.random.normal(key, value.shape, value.dtype)) * value
    bell = _bell(key, value.shape, value.dtype)
    return (value * bell) * _bend(bell, [sigma * coefficient for coefficient in BEND])


def _bell(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    word = jax.random.bits(key, shape, jnp.uint32)
    differences = ((word >> 8) & EVEN_BYTES) - (word & EVEN_BYTES)  # of bytes 3 and 2, times 2^16, and of bytes 1 and 0
    weighted = jax.lax.bitcast_convert_type(differences * jnp.uint32(WEIGHTS), jnp.int32)
    return weighted.astype(dtype) * 2.0**-31


def _bend(bell: jax.Array, coefficients: Sequence[Any]) -> jax.Array:
    square = bell * bell
    *lower, highest = coefficients
    bent = jnp.full_like(square, highest)
    for coefficient in reversed(lower):
        bent = bent * square + coefficient
    return bent


def _is_fast(key: jax.Array) -> bool:
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and jax.random.key_impl(key) == fast
