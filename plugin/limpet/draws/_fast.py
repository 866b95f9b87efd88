"""The default generator: a counter-based integer hash, registered as an ordinary JAX key type.

A word follows from the key (k0, k1) and its place in the array, and from nothing else: a compiled step computes it
where it is used, and every shard of a sharded array computes its own part. In a vector, the word of place i is a hash
of i. In a matrix, each row and each column has two such words of its own, and the word where they cross takes five
operations more. The quality is statistical, not cryptographic.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._jax import define_prng_impl
from ._shard import Shard, undivided

GOLDEN = 0x9E3779B9  # 2^32 / golden ratio. Counters as they are leave the first round of neighbours nothing to mix.
GOLDEN_INVERSE = pow(GOLDEN, -1, 2**32)
# The shifts and factors of least bias among hashes of two multiplications: C. Wellons, "Prospecting for Hash Functions"
# (2018), there called lowbias32.
SHIFTS, FACTORS = (16, 15, 16), (0x7FEB352D, 0x846CA68B)
# So that numbers hashed for one of these purposes differ from another's: those of rows and columns always do.
SEEDING, SPLITTING, FOLDING, ROWS, COLUMNS = 0xC2B2AE35, 0x85EBCA6B, 0x27D4EB2F, 0x51ED270B, 0xA3B195ED
FEWEST = 128  # rows, and columns, from which on it pays to hash them instead of every place

# Keys are often made and split outside `jit`, where each operation would be dispatched alone; inside, nothing changes.
inlined = partial(jax.jit, inline=True)


def _word(counter: jax.Array, k0: jax.Array, k1: jax.Array) -> jax.Array:
    """One random word, of the shape its arguments broadcast to.

    Half of the key enters before the first round and half before the second: were both added to the counter, every
    stream would be another one, shifted.
    """
    return _mixed(counter * jnp.uint32(GOLDEN) + k0, k1)


def _mixed(word: jax.Array, k1: jax.Array) -> jax.Array:
    word = (word ^ (word >> SHIFTS[0])) * jnp.uint32(FACTORS[0])
    word = word ^ k1
    word = (word ^ (word >> SHIFTS[1])) * jnp.uint32(FACTORS[1])
    return word ^ (word >> SHIFTS[2])


def _derived(key: jax.Array, number: jax.Array, purpose: int) -> jax.Array:
    """The key that stands for a number under another key. Shape (..., 2) for numbers of shape (...)."""
    number = number ^ jnp.uint32(purpose)
    return jnp.stack([_word(number, key[0], key[1]), _word(~number, key[1], key[0])], axis=-1)


@inlined
def seed_data(seed: jax.Array) -> jax.Array:
    low, high = seed.astype(jnp.uint32), jnp.uint32(0)
    if seed.dtype.itemsize == 8:
        high = jax.lax.shift_right_logical(seed, jnp.array(32, seed.dtype)).astype(jnp.uint32)
    return _derived(_derived(jnp.zeros(2, jnp.uint32), low, SEEDING), high, SEEDING)


@partial(inlined, static_argnums=1)
def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return _derived(key, _counters(jnp.uint32(0), undivided(shape)), SPLITTING)


@inlined
def _fold_in(key: jax.Array, number: ArrayLike) -> jax.Array:
    return _derived(key, jnp.asarray(number).astype(jnp.uint32), FOLDING)


@partial(inlined, static_argnums=(1, 2))
def _random_bits(key: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    if math.prod(shape) > 2**32:  # more than a counter holds: a key for each row
        rows = _split(key, shape[:1])
        return jax.lax.map(lambda row: _random_bits(row, width, shape[1:]), rows)
    if width == 64:
        high, low = (_random_bits(half, 32, shape).astype(jnp.uint64) for half in _split(key, (2,)))
        return high << 32 | low
    word = _words(key, undivided(shape))
    return word if width == 32 else (word >> (32 - width)).astype(f"uint{width}")


def words(key: jax.Array, shape: tuple[int, ...], shard: Shard | None) -> jax.Array:
    """Random words, uint32.

    Args:
        key: a random key, shape (); one of `limpet.fast`, where a shard is given.
        shape: the shape of the result.
        shard: the part of a leaf that the words are; None for all of it.
    """
    return jax.random.bits(key, shape, jnp.uint32) if shard is None else words_of_shard(key, shard)


def words_of_shard(key: jax.Array, shard: Shard) -> jax.Array:
    """The part that a shard holds of `jax.random.bits(key, shard.whole)`, without the rest of them.

    Args:
        key: a key of `limpet.fast`, shape ().
        shard: the part, of a leaf of at most 2^32 values.
    """
    return _words(jax.random.key_data(key), shard)


def _words(key: jax.Array, shard: Shard) -> jax.Array:
    split = _between_rows_and_columns(shard.whole)
    if split is None:
        return _vector(key, shard)
    return _matrix(key, shard.along(slice(split)), shard.along(slice(split, None)))


def _between_rows_and_columns(shape: tuple[int, ...]) -> int | None:
    """The axis at which the columns begin: as many rows as columns, if possible; None where either would be few."""

    def fewer(axis: int) -> int:
        return min(math.prod(shape[:axis]), math.prod(shape[axis:]))

    best = max(range(len(shape)), key=fewer, default=0)
    return best if fewer(best) >= FEWEST else None


def _vector(key: jax.Array, shard: Shard) -> jax.Array:
    """The words of `_word` for the counters 0, 1, ...

    The key enters before the counters are an array of that shape: such an array would not change from step to step,
    and a compiled loop of steps would keep it in memory.
    """
    return _mixed(_counters(key[0] * jnp.uint32(GOLDEN_INVERSE), shard) * jnp.uint32(GOLDEN), key[1])


def _matrix(key: jax.Array, rows: Shard, columns: Shard) -> jax.Array:
    """The words of a matrix, from two words for each row and two for each column. Shape (*rows.shape, *columns.shape).

    Along a row, and along a column, words are as random as those: what happens is one to one in the word `place` of a
    column, and in the word `added` of a row. The product with the row's odd word and the last shift are what keeps any
    two rows, and any two columns, from being alike.
    """
    added, factor = _words_of(key, rows, ROWS)
    place, mask = _words_of(key, columns, COLUMNS)
    of_rows, of_columns = (..., *[None] * len(columns.shape)), (*[None] * len(rows.shape), ...)
    word = ((added[of_rows] + place[of_columns]) ^ mask[of_columns]) * (factor | 1)[of_rows]
    return word ^ (word >> 13)


def _words_of(key: jax.Array, shard: Shard, purpose: int) -> jax.Array:
    """Two words for each row or column. Shape (2, *shard.shape).

    Each is the exclusive or of two hashes. One would be random enough; but XLA keeps the result of a reduction, where
    it would compute a hash anew for every element of the matrix.
    """
    pairs = Shard((2, 2, *shard.shape), (2, 2, *shard.whole), (0, 0, *shard.first))
    hashes = _word(_counters(jnp.uint32(0), pairs) ^ jnp.uint32(purpose), key[0], key[1])
    return jax.lax.reduce(hashes, np.uint32(0), jax.lax.bitwise_xor, (0,))


def _counters(first: jax.Array, shard: Shard) -> jax.Array:
    """`first` plus the place of each element in the whole, in row-major order, modulo 2^32.

    An outer sum of an iota for each axis: a shard can compute its own part.
    """
    counters = first
    for axis, size in enumerate(shard.shape):
        stride = math.prod(shard.whole[axis + 1 :]) % 2**32
        places = jax.lax.iota(jnp.uint32, size)
        if size != shard.whole[axis]:
            places = places + shard.first[axis]
        # Ranks are made equal by hand: a user may have switched off that JAX does it (`jax_numpy_rank_promotion`).
        counters = counters[..., None] + (places * jnp.uint32(stride))[(*[None] * axis, ...)]
    return counters


fast = define_prng_impl(
    key_shape=(2,),
    seed=seed_data,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="limpet_fast",
    tag="lf",
)
"""The generator of Limpet's draws, for keys of one's own: `jax.random.key(seed, impl=limpet.fast)`."""
