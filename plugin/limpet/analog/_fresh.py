"""Random numbers that are new at each product."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from .._jax import varying
from ..draws._keys import path_hash
from ..draws._normal import scaled_normal

Tile = int | jax.Array
"""The number of an array, of those that a matrix is cut into along its rows."""


@dataclass(frozen=True)
class Fresh:
    """Standard normal numbers by name, of the shape of values: new ones for each example where `jax.vmap` maps over
    examples alone, of each chip where it maps over chips.

    Attributes:
        key: the random key of the leaf at this read and this turn of each loop around.
        sign: -1 for the mirror image of a chip; None where there is none.
        number: the number of the product among those of the leaf, with that of the cells where they stand apart.
    """

    key: jax.Array
    sign: jax.Array | None
    number: str

    def __call__(self, name: str, like: jax.Array, tile: Tile) -> jax.Array:
        """Standard normal numbers, of the shape of values of an array."""
        numbers = _drawing(0)(_of_device(self._key(name, tile), like), jax.lax.stop_gradient(like) > 0)
        return numbers if self.sign is None else numbers * self.sign

    def beneath(self, name: str, tile: Tile) -> "Fresh":
        """The numbers of products that stand within one of an array."""
        return replace(self, key=self._key(name, tile))

    def _key(self, name: str, tile: Tile) -> jax.Array:
        known = isinstance(tile, int)
        own = jax.random.fold_in(self.key, jnp.uint32(path_hash(f"{self.number} {name} {tile if known else ''}")))
        return own if known else jax.random.fold_in(own, tile)


def _of_device(key: jax.Array, like: jax.Array) -> jax.Array:
    """A key of its own for each device of a `jax.shard_map` whose values are others than those of the next.

    Where JAX was told not to track that (`check_vma=False`), for each device.
    """
    manual = jax.sharding.get_abstract_mesh().manual_axes
    if not manual:
        return key
    tracked = varying(jax.lax.axis_index(min(manual)))
    for axis in sorted(varying(like) if tracked else manual):
        key = jax.random.fold_in(key, jax.lax.axis_index(axis))
    return key


@cache
def _drawing(keys: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A function from random keys of so many axes, and values that have these first, to normal numbers."""

    @custom_vmap
    def drawn(key: jax.Array, like: jax.Array) -> jax.Array:
        shape = like.shape[keys:]
        draw: Any = partial(scaled_normal, shape=shape, sigma=jnp.ones((), jnp.float32))
        for _ in range(keys):
            draw = jax.vmap(draw)
        return draw(key)

    @drawn.def_vmap
    def _(size: int, mapped: Sequence[bool], key: jax.Array, like: jax.Array) -> tuple[jax.Array, bool]:
        of_key, of_values = mapped
        if of_key:
            like = like if of_values else jnp.broadcast_to(like, (size, *like.shape))
            return _drawing(keys + 1)(key, like), True
        return jnp.moveaxis(_drawing(keys)(key, jnp.moveaxis(like, 0, keys)), keys, 0), True

    return drawn
