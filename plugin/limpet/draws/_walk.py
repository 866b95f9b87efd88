"""Random keys that stand for a sum of draws, by which chips are walked to.

Such a key holds the keys of several chips, its parts, each with a weight; the squares of the weights add up to 1. Where
the key of one chip gives a normal number, it gives the weighted sum of those of its parts, which is normal as well; and
of that the word from which the normal number would have been made, so that uniform numbers and choices move as
steadily. What is derived from it is derived from every part. So all that draws from a key draws from the walk:
deviations, users' own ones, and products.
"""

import math
from collections.abc import Hashable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jax.typing import ArrayLike, DTypeLike

from .._jax import define_prng_impl
from ._exact_normal import exact_normal
from ._generator import Generator
from ._keys import stream, typed_key
from ._shard import Shard

_WALKS: dict[Hashable, Generator] = {}
"""The generator of the parts, by the type of key."""
_TYPES: dict[tuple[Generator, int], Hashable] = {}
PARTS = 8
"""Keys have a multiple of so many parts, those without weight included: each number of parts is a type of its own."""


def walk_key(seed: int, first: int, steps: Sequence[tuple[int, float]], generator: Generator) -> jax.Array:
    """The key of one walked chip, shape (); see `WalkedChip`."""
    parts = -(-(1 + len(steps)) // PARTS) * PARTS
    numbers, lengths = np.zeros(parts, np.uint32), np.zeros(parts)
    for place, (fresh, length) in enumerate([(first, 1.0), *steps]):
        numbers[place], lengths[place] = fresh, length
    data = jax.random.key_data(stream(seed, "walk", generator))
    return key_under(data, numbers, weights_of(lengths), generator)


def weights_of(lengths: np.ndarray) -> np.ndarray:
    """The weights of the parts of walks.

    Args:
        lengths: 1 for the chip at which a walk began, the length b of each step, then zeros; shape (..., parts).
    """
    kept = np.sqrt(1 - np.concatenate([lengths[..., 1:], np.zeros_like(lengths[..., :1])], axis=-1) ** 2)
    return (lengths * np.cumprod(kept[..., ::-1], axis=-1)[..., ::-1]).astype(np.float32)


def key_under(data: jax.Array, numbers: ArrayLike, weights: ArrayLike, generator: Generator) -> jax.Array:
    """The key of a sum of chips of a walk.

    Args:
        data: the data of the key of all chips of walks of a seed.
        numbers: the numbers of the chips, shape (parts,); may be traced.
        weights: the weight of each, those that are 0 last; likewise.
        generator: the generator of the parts.
    """
    numbers, weights = jnp.asarray(numbers, jnp.uint32), jnp.asarray(weights, jnp.float32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(typed_key(data, generator), numbers)
    words = jnp.concatenate([jax.random.key_data(keys), jax.lax.bitcast_convert_type(weights, jnp.uint32)[:, None]], 1)
    return jax.random.wrap_key_data(words, impl=_type(generator, len(words)))


def is_walk(key: jax.Array) -> bool:
    """Whether a key stands for a sum of draws."""
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and jax.random.key_impl(key) in _WALKS


def normal_numbers(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike, shard: Shard | None = None) -> jax.Array:
    """Exact standard normal numbers of a key of any type; see `exact_normal`. (Those of a walk are drawn whole.)"""
    if not is_walk(key):
        return exact_normal(key, shape, dtype, shard)
    return _sum(jax.random.key_data(key), shape, dtype, _WALKS[jax.random.key_impl(key)])


def _sum(parts: jax.Array, shape: tuple[int, ...], dtype: DTypeLike, generator: Generator) -> jax.Array:
    weights = jax.lax.bitcast_convert_type(parts[:, 2], jnp.float32).astype(dtype)

    def add(place: jax.Array, total: jax.Array) -> jax.Array:
        return total + weights[place] * exact_normal(typed_key(parts[place, :2], generator), shape, dtype)

    # Up to the last part of any weight: a long step leaves none to those before it.
    used = jnp.where(weights > 0, jnp.arange(1, len(weights) + 1), 0).max()
    return jax.lax.fori_loop(0, used, add, jnp.zeros(shape, dtype))


def _type(generator: Generator, parts: int) -> Hashable:
    """The type of keys of so many parts."""
    if (generator, parts) not in _TYPES:
        made = define_prng_impl(
            key_shape=(parts, 3),
            seed=lambda seed: _seeded(seed, generator, parts),
            split=lambda data, shape: _split(data, shape, generator),
            random_bits=lambda data, width, shape: _random_bits(data, width, shape, generator),
            fold_in=lambda data, number: _fold_in(data, number, generator),
            name=f"limpet_walk_{generator}_{parts}",
            tag=f"lw{generator[0]}{parts}",
        )
        _TYPES[generator, parts] = made
        _WALKS[made] = generator
    return _TYPES[generator, parts]


def _seeded(seed: jax.Array, generator: Generator, parts: int) -> jax.Array:
    """A walk that has not begun: one part. (JAX asks for a seed of every type; `key_under` makes keys of walks.)"""
    key = jax.random.key_data(stream(0, "walk", generator)) ^ seed.astype(jnp.uint32)
    one = jnp.concatenate([key, jax.lax.bitcast_convert_type(jnp.ones(1, jnp.float32), jnp.uint32)])
    return jnp.zeros((parts, 3), jnp.uint32).at[0].set(one)


def _fold_in(data: jax.Array, number: ArrayLike, generator: Generator) -> jax.Array:
    """The same sum of what a number stands for under each part."""

    def of_part(part: jax.Array) -> jax.Array:
        return jax.random.key_data(jax.random.fold_in(typed_key(part[:2], generator), number))

    return jnp.concatenate([jax.vmap(of_part)(data), data[:, 2:]], axis=1)


SPLITTING = 0x5B1E0C37


def _split(data: jax.Array, shape: tuple[int, ...], generator: Generator) -> jax.Array:
    under = partial(_fold_in, _fold_in(data, SPLITTING, generator), generator=generator)
    keys = jax.vmap(under)(jnp.arange(math.prod(shape), dtype=jnp.uint32))
    return keys.reshape(*shape, *data.shape)


def _random_bits(data: jax.Array, width: int, shape: tuple[int, ...], generator: Generator) -> jax.Array:
    if width == 64:
        high, low = (_random_bits(half, 32, shape, generator) for half in _split(data, (2,), generator))
        return high.astype(jnp.uint64) << 32 | low.astype(jnp.uint64)
    normal = _sum(data, shape, jnp.float32, generator)
    # The share that lies beyond, at most 1/2, is computed: near 1, single precision would hold too few digits.
    beyond = jnp.minimum((ndtr(-jnp.abs(normal)) * 2.0**32), 2.0**31 - 128).astype(jnp.uint32)
    word = jnp.where(normal < 0, beyond, ~beyond)
    return word if width == 32 else (word >> (32 - width)).astype(f"uint{width}")
