"""Numbers of whole arrays, such as their largest values, and such a number for each value of a leaf again.

A number of each array, of each of its columns, or of the whole leaf is kept in an array with an axis for each axis of
the leaf (of length 1 where it does not differ); or, of matrices that are cut, with the axes (matrix, row of tiles,
group, column or column of tiles).

A gradient that passes through such a number is a sum over all values that it is taken of. XLA for CPUs takes the sum of
a whole matrix on one core, without vector instructions, and writes out what it feeds on; a product with a vector of
ones takes all cores and half the time.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ._array import Layout

Per = Literal["array", "column", "tensor"]
"""What a number is taken of: each array, each column of each array, or the whole leaf, whatever arrays it is on."""

Reduction = Callable[..., jax.Array]
"""A function such as `jnp.max`, of values and, by keyword, the axes and whether these are kept."""


def reduced(values: jax.Array, layout: Layout, per: Per, reduction: Reduction) -> jax.Array:
    """A number of the values of each array, column or leaf.

    Args:
        values: values of the leaf's shape.
        layout: where they sit.
        per: what a number is taken of.
        reduction: the function that takes it.
    """
    if not _is_cut(layout, per):
        return reduction(values, axis=reduced_axes(layout, per), keepdims=True)
    blocks = _by_tiles(layout.blocks(values), 1, layout.row_tiles, reduction)
    return blocks if _is_of_columns(layout, per) else _by_tiles(blocks, 3, layout.column_tiles_of_group, reduction)


def reduced_axes(layout: Layout, per: Per) -> tuple[int, ...]:
    """The axes of the leaf that a number is taken along, where matrices are not cut."""
    if per == "tensor":
        return tuple(range(len(layout.shape)))
    if _is_of_columns(layout, per):
        return layout.inputs
    return tuple(axis for axis in range(len(layout.shape)) if axis not in layout.stack)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def spread(numbers: jax.Array, layout: Layout, per: Per) -> jax.Array:
    """For each value of a leaf the number of its array, column or leaf: the inverse of `reduced`.

    The gradient that comes back is the `total` of those of all values.
    """
    if not _is_cut(layout, per):
        return jnp.broadcast_to(numbers, layout.shape)
    if not _is_of_columns(layout, per):
        numbers = _over_tiles(numbers, 3, layout.column_tiles_of_group)
    return layout.leaf(_over_tiles(numbers, 1, layout.row_tiles))


@spread.defjvp
def _(layout: Layout, per: Per, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (rate,) = tangents
    # The transpose of `total`: what JAX turns around again on its way back.
    (rates,) = jax.linear_transpose(
        partial(total, layout=layout, per=per), jax.ShapeDtypeStruct(layout.shape, rate.dtype)
    )(rate)
    return spread(*primals, layout, per), rates


SMALL = 2**14
"""The values up to which a plain sum costs no more time than it takes to compile a product."""


def total(values: jax.Array, layout: Layout, per: Per) -> jax.Array:
    """The sum of the values of each array, column or leaf."""
    whole = not _is_cut(layout, per) and len(reduced_axes(layout, per)) == values.ndim
    if not whole or values.size <= SMALL:
        return reduced(values, layout, per, jnp.sum)
    rows = values.reshape(-1, values.shape[-1])
    ones = partial(jnp.ones, dtype=values.dtype)
    multiply = partial(jnp.matmul, precision="highest")
    return multiply(ones(len(rows)), multiply(rows, ones(rows.shape[1]))).reshape((1,) * values.ndim)


def standard_deviation(values: jax.Array, layout: Layout, per: Per) -> jax.Array:
    """The standard deviation of the values of each array, column or leaf."""
    number = total(jnp.ones(layout.shape, values.dtype), layout, per)
    apart = values - spread(total(values, layout, per) / number, layout, per)
    return jnp.sqrt(total(apart * apart, layout, per) / number)


def reduced_shape(layout: Layout, per: Per) -> tuple[int, ...]:
    """The shape of such numbers, as `reduced` gives them."""
    if _is_cut(layout, per):
        matrices, _, groups, columns = layout.block_shape
        last = columns if _is_of_columns(layout, per) else len(layout.column_tiles_of_group)
        return matrices, len(layout.row_tiles), groups, last
    axes = reduced_axes(layout, per)
    return tuple(1 if axis in axes else size for axis, size in enumerate(layout.shape))


Sites = Literal["array", "rows", "columns", "devices"]
"""What has a number of its own on each array: the array, its rows, its columns, or its devices."""


def sites(layout: Layout, of: Sites, own: bool = True) -> tuple[int, ...]:
    """The shape of the numbers that `placed` takes: (matrices, tiles of rows, groups, tiles of columns, rows, columns).

    Smaller arrays have the first rows and columns of as many as the largest has.

    Args:
        layout: where the values sit.
        of: what has a number of its own.
        own: whether each array has its own numbers; else all have the same.
    """
    row_tiles, column_tiles = layout.row_tiles, layout.column_tiles_of_group
    arrays = (layout.matrices, len(row_tiles), layout.groups, len(column_tiles)) if own else (1, 1, 1, 1)
    rows = row_tiles[0] if of in ("rows", "devices") else 1
    return *arrays, rows, column_tiles[0] if of in ("columns", "devices") else 1


def placed(numbers: jax.Array, layout: Layout) -> jax.Array:
    """For each value of a leaf the number of its place, from those of the shape that `sites` gives."""
    numbers = numbers.transpose(0, 1, 4, 2, 3, 5)
    (of_row, on_row), (of_column, on_column) = map(_places, (layout.row_tiles, layout.column_tiles_of_group))
    _, tiles_of_rows, rows, _, tiles_of_columns, columns = numbers.shape
    numbers = numbers[:, of_row * (tiles_of_rows > 1), on_row * (rows > 1)]
    numbers = numbers[..., of_column * (tiles_of_columns > 1), on_column * (columns > 1)]
    return layout.leaf(jnp.broadcast_to(numbers, layout.block_shape))


def _is_cut(layout: Layout, per: Per) -> bool:
    return per != "tensor" and layout.cut


def _is_of_columns(layout: Layout, per: Per) -> bool:
    """Whether columns have numbers of their own; a vector, which has no rows, is one column."""
    return per == "column" and bool(layout.inputs)


def _by_tiles(blocks: jax.Array, axis: int, sizes: tuple[int, ...], reduction: Reduction) -> jax.Array:
    """A number for each tile along an axis. Tiles have two sizes at most, the larger ones first, so that two batched
    reductions take all of them."""
    if _keeps_places(sizes):
        masks = jnp.expand_dims(_members(sizes), range(2, blocks.ndim - axis + 1))
        values = jnp.expand_dims(blocks, axis)
        return reduction(values, axis=axis + 1, where=masks, initial=_IDENTITIES[reduction])
    larger = sizes.count(sizes[0])
    parts = jnp.split(blocks, [larger * sizes[0]], axis) if larger < len(sizes) else [blocks]

    def of(part: jax.Array, number: int, size: int) -> jax.Array:
        tiled = part.reshape(*part.shape[:axis], number, size, *part.shape[axis + 1 :])
        return reduction(tiled, axis=axis + 1)

    numbers = ((larger, sizes[0]), (len(sizes) - larger, sizes[-1]))
    return jnp.concatenate([of(part, *number) for part, number in zip(parts, numbers, strict=False)], axis)


_IDENTITIES: dict[Reduction, float] = {jnp.max: -jnp.inf, jnp.min: jnp.inf, jnp.sum: 0.0}


def _over_tiles(numbers: jax.Array, axis: int, sizes: tuple[int, ...]) -> jax.Array:
    """The number of its tile for each place along an axis: the inverse of `_by_tiles`."""
    if _keeps_places(sizes):
        return jnp.take(numbers, _places(sizes)[0], axis, mode="clip")
    larger = sizes.count(sizes[0])
    parts = jnp.split(numbers, [larger], axis) if larger < len(sizes) else [numbers]

    def of(part: jax.Array, size: int) -> jax.Array:
        shape = *part.shape[: axis + 1], size, *part.shape[axis + 1 :]
        repeated = jnp.broadcast_to(jnp.expand_dims(part, axis + 1), shape)
        return repeated.reshape(*part.shape[:axis], -1, *part.shape[axis + 1 :])

    return jnp.concatenate([of(part, size) for part, size in zip(parts, (sizes[0], sizes[-1]), strict=False)], axis)


def _keeps_places(sizes: tuple[int, ...]) -> bool:
    """Whether an axis is left as it is: cut unevenly, its parts would have to be moved between several devices."""
    return sizes[0] > sizes[-1] and jax.device_count() > 1


def _members(sizes: tuple[int, ...]) -> jax.Array:
    """Which places along an axis lie on which tile, of shape (tiles, places)."""
    return jnp.arange(len(sizes))[:, None] == jnp.asarray(_places(sizes)[0])


def _places(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """For each place along an axis that is cut, the number of its tile, and its place on that tile."""
    return np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(size) for size in sizes])
