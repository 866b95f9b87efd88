"""Normal numbers that are right out to 6.34 sigma, where a random word of 32 bits ends.

They cost six times what those of `_normal.py` cost. Those end at 4.94 sigma: nothing for a million weights, of which
none decides alone, and wrong for the one factor that all values of a die have in common.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ._fast import words
from ._shard import Shard

# The normal number beyond which the share p <= 1/2 lies is `w * P(w) / Q(w)` of w = -log(2 p), to 3e-6 for all w of a
# word. `tests/benchmarks/fit_exact_normal.py` finds the coefficients of 1, w, w^2, ...
P = (1.25320323, 1.41384853, 0.329036046, 0.0148719939, 6.09756561e-05)
Q = (1.0, 1.62702639, 0.652180445, 0.0636764615, 0.00102233872)


def exact_normal(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike, shard: Shard | None = None) -> jax.Array:
    """Standard normal numbers, independent for each element, one for each random word.

    Args:
        key: a random key of any generator, shape ().
        shape: the shape of the result.
        dtype: float32 or float64.
        shard: the part of a leaf that the numbers are, under `limpet.fast`; None for all of it.
    """
    return normal_of(words(key, shape, shard), dtype)


def normal_of(word: jax.Array, dtype: DTypeLike) -> jax.Array:
    """The normal numbers below which the shares (word + 1/2) / 2^32 lie.

    Args:
        word: random words, uint32.
        dtype: float32 or float64.
    """
    w = -jnp.log((jnp.minimum(word, ~word).astype(dtype) + 0.5) * 2.0**-31)
    size = w * _polynomial(P, w) / _polynomial(Q, w)
    return jnp.where(word >> 31 == 0, -size, size)


def _polynomial(coefficients: tuple[float, ...], argument: jax.Array) -> jax.Array:
    value = jnp.full_like(argument, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * argument + coefficient
    return value
