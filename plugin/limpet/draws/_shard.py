"""The part of a leaf that one device holds within `jax.shard_map`, where a function sees no other part."""

import math
from typing import NamedTuple

import jax
from jax.typing import ArrayLike


class Shard(NamedTuple):
    """Where a part of a leaf lies in the whole.

    Attributes:
        shape: the shape of the part.
        whole: shape of the whole leaf.
        first: the place of the part's first element along each axis, uint32 scalars; 0 along an axis that is not
            divided.
    """

    shape: tuple[int, ...]
    whole: tuple[int, ...]
    first: tuple[ArrayLike, ...]

    def of(self, values: jax.Array) -> jax.Array:
        """This part of an array of the whole leaf's shape."""
        return jax.lax.dynamic_slice(values, self.first, self.shape)

    def along(self, axes: slice) -> "Shard":
        """Where the part lies along some of the axes."""
        return Shard(self.shape[axes], self.whole[axes], self.first[axes])

    @property
    def size(self) -> int:
        """How many values the whole leaf has."""
        return math.prod(self.whole)


def undivided(shape: tuple[int, ...]) -> Shard:
    """All of a leaf."""
    return Shard(shape, shape, (0,) * len(shape))
