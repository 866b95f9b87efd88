"""What is known of the columns of each array on one chip: largest weights, gains and offsets of converters."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._errors import LimpetError
from ..arrays._array import Layout
from ..deviations._deviation import Deviation
from ..deviations._draw import Draw
from ._mark import Chip
from ._product import Product


class Tables(NamedTuple):
    """Numbers of one leaf's arrays, shape (row tiles, columns of all matrices) each; None where there is none.

    Attributes:
        largest: the largest absolute weight, of what `Product.relative_to` says.
        gain: the gain of the column's output converter.
        offset: its offset, in the units of the bound.
        ranges: the largest input, shape (row tiles, matrices).
        gains: digital factors on the sums over arrays, shape (1, columns of all matrices).
    """

    largest: jax.Array | None
    gain: jax.Array | None
    offset: jax.Array | None
    ranges: jax.Array | None
    gains: jax.Array | None


def tables_of(chip: Chip, product: Product, layout: Layout, name: str) -> Tables:
    """The tables of one chip.

    Args:
        chip: the chip.
        product: what its arrays compute.
        layout: where the leaf sits.
        name: what the leaf's arrays are called, so that one that is driven from its columns has converters of its own.
    """
    outputs, shape = product.outputs, (len(layout.row_tiles), layout.matrices * layout.columns)
    dtype = jnp.float64 if chip.nominal.dtype == jnp.float64 else jnp.float32
    condition = chip.condition

    def drawn(deviation: Deviation | None, what: str, value: float) -> jax.Array | None:
        if deviation is None:
            return None
        draw = Draw(
            chip.key,
            chip.chip_key,
            condition.sign,
            None,
            condition.time,  # pyright: ignore[reportArgumentType]
            condition.read,
        )
        strength = jnp.asarray(condition.scale).astype(dtype)
        return deviation.deviate(draw.stream(f"product {name}{what}"), jnp.full(shape, value, dtype), strength)

    noisy = product.read_noise or product.wire or (outputs is not None and (outputs.bound or outputs.noise))
    needed = noisy or product.cells == "apart" or (outputs is not None and outputs.offset is not None)
    return Tables(
        _largest(chip.nominal.astype(dtype), product, layout) if needed else None,
        None if outputs is None else drawn(outputs.gain, "gain", 1.0),  # pyright: ignore[reportArgumentType]
        None if outputs is None else drawn(outputs.offset, "offset", 0.0),  # pyright: ignore[reportArgumentType]
        None if chip.ranges is None else jnp.broadcast_to(chip.ranges, _arrays_of(layout)).T,
        None if chip.gains is None else _of_columns(chip.gains, layout),
    )


def _arrays_of(layout: Layout) -> tuple[int, int]:
    """The number of matrices, and of arrays that the rows of each are cut into."""
    return layout.matrices, len(layout.row_tiles)


def require_ranges(path: str, chip: Chip, product: Product, layouts: Sequence[Layout]) -> None:
    """Refuse inputs whose range is "learned" without ranges that fit the arrays of a leaf.

    Raises:
        LimpetError: there are none, or they are of other arrays.
    """
    if not product.learned or not layouts:
        return
    shape = _arrays_of(layouts[0])
    find = (
        "limpet.input_ranges finds them, hardware.with_ranges(ranges) keeps them, and mismatch(key, tree, ranges=...) "
    )
    find += "or inject(params, step, ranges=...) takes those that are trained"
    if chip.ranges is None:
        raise LimpetError(f"leaf '{path}': the ranges of its inputs are 'learned', and none are given: {find}")
    if not chip.ranges.ndim:
        return
    if len(layouts) > 1:
        raise LimpetError(
            f"leaf '{path}': ranges of shape {chip.ranges.shape}, and its arrays are driven from their rows as well as "
            f"from their columns: give one range for both, a number"
        )
    if chip.ranges.shape != shape:
        raise LimpetError(
            f"leaf '{path}': ranges of shape {chip.ranges.shape}, and it sits on {layouts[0]}, so that allowed are a "
            f"number and the shape {shape} (matrices, row tiles): {find}"
        )


def _of_columns(values: jax.Array, layout: Layout) -> jax.Array:
    """What is the same along the rows of a leaf, shape (1, columns of all matrices)."""
    first = jax.lax.slice_in_dim(layout.blocks(jnp.broadcast_to(values, layout.shape)), 0, 1, axis=1)
    return first.reshape(1, -1)


def _largest(nominal: jax.Array, product: Product, layout: Layout) -> jax.Array:
    """The largest absolute weight of each column's array, shape (row tiles, columns of all matrices)."""
    shape = (len(layout.row_tiles), layout.matrices, layout.columns)
    per = product.relative_to
    if not isinstance(per, str):
        return jnp.full(shape, per, nominal.dtype).reshape(shape[0], -1)
    blocks = jnp.abs(layout.blocks(nominal)).reshape(layout.matrices, layout.rows, layout.columns)
    if per == "tensor":
        return jnp.broadcast_to(blocks.max(initial=0), shape).reshape(shape[0], -1)
    found, start = [], 0
    for rows in layout.row_tiles:
        found.append(jax.lax.slice_in_dim(blocks, start, start + rows, axis=1).max(axis=1, initial=0))
        start += rows
    of_columns = jnp.stack(found)
    if per == "array":
        parts, start = [], 0
        for columns in layout.column_tiles:
            part = jax.lax.slice_in_dim(of_columns, start, start + columns, axis=2)
            parts.append(jnp.broadcast_to(part.max(axis=2, keepdims=True), part.shape))
            start += columns
        of_columns = jnp.concatenate(parts, axis=2)
    return of_columns.reshape(shape[0], -1)
