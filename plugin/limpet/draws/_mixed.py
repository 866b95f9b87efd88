"""Random keys of a chip that takes what it draws at each level of variation from one of two chips.

Such a key holds the keys of both, and for each level which of them it is drawn from. What is derived from it is derived
from both, until the level is known: `key_at` then gives an ordinary key. So a chip that is mixed costs one draw.
"""

import math
from collections.abc import Hashable
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._errors import LimpetError
from .._jax import define_prng_impl
from ._generator import Generator
from ._keys import typed_key

MOST_LEVELS = 32
"""Levels are told apart by the bits of one word."""
_TYPES: dict[Generator, Hashable] = {}
_MIXED: dict[Hashable, Generator] = {}


def mixed_key(first: jax.Array, second: jax.Array, from_second: jax.Array, generator: Generator) -> jax.Array:
    """The key of a chip that is mixed of two, shape ().

    Args:
        first: the key of one chip, shape ().
        second: the key of the other.
        from_second: whether each level is drawn from the other, shape (levels,), at most 32; may be traced.
        generator: the generator of both.

    Raises:
        LimpetError: there are more levels.
    """
    if len(from_second) > MOST_LEVELS:
        raise LimpetError(f"a leaf draws at {len(from_second)} levels, of which {MOST_LEVELS} can be told apart")
    places = jnp.arange(len(from_second), dtype=jnp.uint32)
    bits = (from_second.astype(jnp.uint32) << places).sum(dtype=jnp.uint32)
    words = jnp.concatenate([jax.random.key_data(first), jax.random.key_data(second), bits[None]])
    return jax.random.wrap_key_data(words, impl=_type(generator))


def key_at(key: jax.Array, level: int) -> jax.Array:
    """The ordinary key that a mixed one is at a level, shape ()."""
    words, generator = jax.random.key_data(key), _MIXED[jax.random.key_impl(key)]
    return typed_key(jnp.where((words[4] >> level) & 1, words[2:4], words[:2]), generator)


def _type(generator: Generator) -> Hashable:
    """The type of mixed keys."""
    if generator not in _TYPES:
        made = define_prng_impl(
            key_shape=(5,),
            seed=lambda seed: jnp.zeros(5, jnp.uint32).at[0].set(seed.astype(jnp.uint32)),  # JAX asks for one
            split=partial(_split, generator=generator),
            random_bits=_refused,
            fold_in=partial(_fold_in, generator=generator),
            name=f"limpet_mixed_{generator}",
            tag=f"lm{generator[0]}",
        )
        _TYPES[generator], _MIXED[made] = made, generator
    return _TYPES[generator]


def _fold_in(data: jax.Array, number: ArrayLike, generator: Generator) -> jax.Array:
    def of_one(words: jax.Array) -> jax.Array:
        return jax.random.key_data(jax.random.fold_in(typed_key(words, generator), number))

    return jnp.concatenate([of_one(data[:2]), of_one(data[2:4]), data[4:]])


SPLITTING = 0x2545F491


def _split(data: jax.Array, shape: tuple[int, ...], generator: Generator) -> jax.Array:
    under = partial(_fold_in, _fold_in(data, SPLITTING, generator), generator=generator)
    return jax.vmap(under)(jnp.arange(math.prod(shape), dtype=jnp.uint32)).reshape(*shape, *data.shape)


def _refused(data: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    raise LimpetError(
        "a deviation draws by draw.shared what leaves of a chip have in common, and does not say so: of which level "
        "that is cannot be known; give it as a limpet.Shared or a limpet.Spatial with a name"
    )
