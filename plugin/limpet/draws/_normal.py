"""Normal numbers, at little more than the cost of writing them.

The four bytes of a random word, two added and two subtracted, make a symmetric bell: the distribution of a sum of four
uniform numbers, whose middle is near a normal one's. An odd polynomial bends it into a normal one out to the tails.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ._fast import fast, words
from ._shard import Shard
from ._walk import is_walk, normal_numbers

# The coefficients of t, t^3, t^5 and t^7, for t as `bell` makes it. They minimise the largest of five errors, each as a
# fraction of what is allowed: the distance to the normal distribution function is .0007 (of .002), the excess kurtosis
# -.007 (of .02), and the mass beyond 3, 3.5 and 4 sigma is .5%, 3.8% and 7.3% off (of 5%, 10% and 20%); the variance is
# 1. The largest number is 4.94: of 10^6 normal ones, one would lie beyond. `tests/benchmarks/fit_bend.py` finds them.
BEND = (3.30838358, 0.86000022, -1.62192042, 2.45403615)

EVEN_BYTES = 0x00FF00FF
# The difference of the upper two bytes is weighted by 67 and that of the lower two by 61. Were the weights equal, many
# pairs of differences would have the same sum, and the numbers would lie on a coarser grid.
WEIGHTS = 61 << 16 | 67


def times_normal(
    key: jax.Array, value: jax.Array, sigma: jax.Array, shard: Shard | None = None, exact: bool = False
) -> jax.Array:
    """`value * sigma * n`, where n is standard normal and independent for each element.

    It is one function, because a product made inside takes two operations less for each element than one made of
    `standard_normal`'s result.

    Args:
        key: a random key, shape (). Under `limpet.fast` the numbers are those described above; under any other
            generator they are `jax.random.normal`'s.
        value: the factor of each number, of any shape, float32 or float64.
        sigma: the standard deviation, a scalar of value's dtype; a negative one gives the same draw mirrored.
        shard: the part of a leaf that `value` is, under `limpet.fast`; None for all of it.
        exact: whether the numbers are `exact_normal`'s in their place, as those of a walk are.
    """
    if is_fast(key) and not exact:
        place = bell(key, value.shape, value.dtype, shard)
        return (value * place) * bend(place, scaled(BEND, sigma))
    if exact or is_walk(key):
        return sigma * normal_numbers(key, value.shape, value.dtype, shard) * value
    return sigma * jax.random.normal(key, value.shape, value.dtype) * value


def scaled_normal(
    key: jax.Array,
    shape: tuple[int, ...],
    sigma: jax.Array,
    shard: Shard | None = None,
    exact: bool = False,
) -> jax.Array:
    """`sigma * n`, where n is standard normal and independent for each element; see `times_normal`.

    Args:
        key: a random key, shape ().
        shape: the shape of the result.
        sigma: the standard deviation, a scalar of float32 or float64, which gives the result's dtype.
        shard: the part of a leaf that the numbers are, under `limpet.fast`; None for all of it.
        exact: whether the numbers are `exact_normal`'s in their place, as those of a walk are.
    """
    if is_fast(key) and not exact:
        place = bell(key, shape, sigma.dtype, shard)
        return place * bend(place, scaled(BEND, sigma))
    if exact or is_walk(key):
        return sigma * normal_numbers(key, shape, sigma.dtype, shard)
    return sigma * jax.random.normal(key, shape, sigma.dtype)


def bell(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike, shard: Shard | None = None) -> jax.Array:
    """Numbers between -1 and 1, distributed symmetrically about 0 as a sum of four uniform numbers is.

    Args:
        key: a key of `limpet.fast`, shape ().
        shape: the shape of the result.
        dtype: float32 or float64.
        shard: the part of a leaf that the numbers are; None for all of it.
    """
    word = words(key, shape, shard)
    # The upper half holds byte 3 less byte 2 of the word, times 2^16; the lower half holds byte 1 less byte 0.
    differences = ((word >> 8) & EVEN_BYTES) - (word & EVEN_BYTES)
    weighted = jax.lax.bitcast_convert_type(differences * jnp.uint32(WEIGHTS), jnp.int32)
    return weighted.astype(dtype) * 2.0**-31


def bend(place: jax.Array, coefficients: Sequence[Any]) -> jax.Array:
    """An odd polynomial divided by its argument t: `c1 + c3 t^2 + c5 t^4 + ...`.

    Args:
        place: t, the numbers that `bell` gives.
        coefficients: c1, c3, ...; numbers or scalars.
    """
    square = place * place
    *lower, highest = coefficients
    bent = jnp.full_like(square, highest)
    for coefficient in reversed(lower):
        bent = bent * square + coefficient
    return bent


def scaled(coefficients: Sequence[float], sigma: jax.Array) -> list[jax.Array]:
    """The coefficients of `bend` for numbers of standard deviation sigma, a scalar."""
    return [sigma * coefficient for coefficient in coefficients]


def is_fast(key: jax.Array) -> bool:
    """Whether a key is one of `limpet.fast`."""
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and jax.random.key_impl(key) == fast
