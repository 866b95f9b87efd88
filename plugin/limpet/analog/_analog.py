"""One analog product, of matrices: see `limpet.Product` for its steps."""

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays._array import Layout
from ._convert import beyond, clipped, converted, ends, largest_of, value_of_code, within_learned
from ._form import Form
from ._fresh import Fresh, Tile
from ._product import Product
from ._tables import Tables
from ._wire import lost

MOST_UNROLLED = 8
"""So many arrays of one matrix are computed one after another."""
Seen = Callable[[str, dict[str, Any]], None]
"""`seen(event, values)`: is given what a product saw and gave, as it is traced, arrays by name.

- "inputs": `x`, the inputs of the arrays that hold some of the rows, shape (stack..., free..., rows); their `range`;
  the number of the `tile`, and of the `matrix`, shape (stack...).
- "codes": the `codes` to which inputs were converted, once for each pass.
- "outputs": `y`, what arrives at the output converters, and the same `quiet`, without noise; and, where there is a
  bound, the `bound`, the `codes` to which outputs were converted, and which were `clipped`. `y` and `quiet` count in
  codes of inputs, of which one is `worth` so much.
"""


@dataclass(frozen=True)
class Back:
    """How gradients pass through the arrays of a product, from their columns to their rows.

    Attributes:
        product: what the arrays compute there.
        layout: where the leaf sits, whose rows are the product's columns.
        tables: what is known of the rows' converters on this chip.
    """

    product: Product
    layout: Layout
    tables: Tables


@dataclass(frozen=True)
class Analog:
    """How one product is computed.

    Attributes:
        product: what the arrays compute.
        form: the axes of the operands.
        layout: where the leaf sits.
        tables: what is known of its columns on this chip.
        columns: the number of the column in these tables, for each of the product's, shape (stack..., columns).
        strength: the factor on all that is random.
        normal: draws what is new at each product.
        reference: how often the largest weight, times the sum of the inputs, is taken off digitally.
        seen: is given what the product saw and gave; None where nobody asks.
        back: how gradients pass to the inputs; None for exactly.
    """

    product: Product
    form: Form
    layout: Layout
    tables: Tables
    columns: Any
    strength: jax.Array
    normal: Fresh
    reference: float = 0.0
    seen: Seen | None = None
    back: Back | None = None

    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """The outputs of all arrays together.

        Args:
            x: inputs, shape (stack..., free..., rows).
            w: weights, shape (stack..., rows, columns).

        Returns:
            Outputs, shape (stack..., free..., columns).
        """
        total = self._total(x, w)
        return total if self.tables.gains is None else total * self._at(self.tables.gains, 0)

    def _total(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """The outputs of all arrays, before digital factors."""
        sizes = self.layout.row_tiles
        if len(sizes) == 1:
            return self._array(x, w, 0)
        total = self._sum_of_arrays(x, w, sizes)
        if not self.product.saturates:
            return total
        outputs, largest = self.product.outputs, self.tables.largest
        assert outputs is not None
        assert outputs.bound is not None
        assert largest is not None
        bound = self._at(jax.lax.stop_gradient(largest).max(0, keepdims=True), 0) * (outputs.bound * self._range(x, 0))
        low, high = ends(outputs)
        ended = jnp.clip(total, bound * (low / high), bound)
        return jnp.where(ended == total, total, jax.lax.stop_gradient(ended))

    def _sum_of_arrays(self, x: jax.Array, w: jax.Array, sizes: Sequence[int]) -> jax.Array:
        """The sum over arrays that hold some rows each.

        Few of them are computed one after another: a batch of their products takes XLA for CPUs twice as long. Of many,
        one is compiled.
        """
        if len(sizes) <= MOST_UNROLLED:
            parts = zip(jax.lax.split(x, sizes, x.ndim - 1), jax.lax.split(w, sizes, self.form.stack), strict=True)
            return functools.reduce(operator.add, (self._array(*part, tile) for tile, part in enumerate(parts)))
        total, first, start = None, 0, 0
        for size, alike in itertools.groupby(sizes):
            count = len(list(alike))
            end = start + size * count
            inputs = jax.lax.slice_in_dim(x, start, end, axis=x.ndim - 1)
            weights = jax.lax.slice_in_dim(w, start, end, axis=self.form.stack)
            inputs = jnp.moveaxis(inputs.reshape(*inputs.shape[:-1], count, size), -2, 0)
            shape = (*w.shape[: self.form.stack], count, size, *w.shape[self.form.stack + 1 :])
            weights = jnp.moveaxis(weights.reshape(shape), self.form.stack, 0)
            opening = self._array(inputs[0], weights[0], first)
            total, _ = jax.lax.scan(
                lambda total, part: (total + self._array(*part), None),
                opening if total is None else total + opening,
                (inputs[1:], weights[1:], jnp.arange(first + 1, first + count)),
            )
            first, start = first + count, end
        assert total is not None
        return total

    def _array(self, x: jax.Array, w: jax.Array, tile: Tile) -> jax.Array:
        """What the arrays give that hold some of the rows, as the network counts."""
        inputs = self.product.inputs
        range_ = self._range(x, tile)
        if self.seen is not None:
            self.seen("inputs", {"x": x, "range": range_, "tile": tile, "matrix": self._matrix})
        if inputs is None:
            return self._pass(x, x, 1.0, 1.0, w, tile, "")
        if inputs.range == "learned":
            x = within_learned(x, range_, inputs.decay)
        if not inputs.signed:
            # What is 0 belongs to the first pass alone, or its gradient would count twice.
            first = self._managed(jnp.where(x < 0, 0, x), range_, w, tile, "+")
            second = self._managed(jnp.where(x < 0, -x, 0), range_, w, tile, "-")
            return first - jnp.where(jnp.any(x < 0, axis=-1, keepdims=True), second, 0)
        return self._managed(x, range_, w, tile, "")

    def _managed(self, x: jax.Array, range_: Any, w: jax.Array, tile: Tile, name: str) -> jax.Array:
        """The outputs of inputs within a range, which grows for those vectors whose outputs are beyond the bound."""
        most, outputs = self.product.bound_management, self.product.outputs
        if not most or outputs is None:
            return self._converted(x, range_, w, tile, name)
        held, weights = jax.lax.stop_gradient((x, w))

        def clipped_at(factor: jax.Array) -> jax.Array:
            codes, _, full = self._codes(held, range_ * factor)
            y = self._currents(self._sent(codes, full, tile, name), full, weights, tile, name)
            return jnp.any(beyond(y, self._bound(full, tile), outputs), axis=-1, keepdims=True)

        def wider(state: Any) -> Any:
            factor, found, turn = state
            factor = jnp.where(found, factor * 2, factor)
            return factor, clipped_at(factor), turn + 1

        start = jnp.ones((*x.shape[:-1], 1), self._dtype(x))
        factor, *_ = jax.lax.while_loop(
            lambda state: jnp.any(state[1]) & (state[2] < most), wider, (start, clipped_at(start), 0)
        )
        return self._converted(x, range_ * jax.lax.stop_gradient(factor), w, tile, name)

    def _converted(self, x: jax.Array, range_: Any, w: jax.Array, tile: Tile, name: str) -> jax.Array:
        inputs = self.product.inputs
        assert inputs is not None
        codes, worth, full = self._codes(x, range_)
        if self.seen is not None and inputs.codes is not None:
            self.seen("codes", {"codes": codes})
        if inputs.slice_bits is None:
            return self._pass(self._sent(codes, full, tile, name), codes, worth, full, w, tile, name)
        base, magnitude = 2**inputs.slice_bits, jnp.abs(jax.lax.stop_gradient(codes))
        total, factor = 0.0, 1
        while factor <= inputs.half:
            digit = jnp.floor(magnitude / factor) % base * jnp.sign(codes)
            digit, own = jax.lax.stop_gradient(digit.astype(codes.dtype)), f"{name}{factor}"
            sent = self._sent(digit, base - 1.0, tile, own)
            total = total + factor * self._pass(sent, digit, worth, base - 1.0, w, tile, own)
            factor *= base
        exact = self._multiplied(codes, w, tile, name) * worth
        return exact + jax.lax.stop_gradient(total - exact)

    def _codes(self, x: jax.Array, range_: Any) -> tuple[jax.Array, Any, float]:
        """The codes of inputs; what a code is worth; and the code of the full range."""
        inputs = self.product.inputs
        assert inputs is not None
        if inputs.range is None:
            codes, worth, full = x.astype(self._dtype(x)), 1.0, 1.0
        else:
            # What a code is worth counts as a constant: only what is clipped moves a learned range.
            largest = jax.lax.stop_gradient(jnp.asarray(range_, self._dtype(x)))
            codes = converted(x.astype(self._dtype(x)), largest, inputs)
            worth, full = value_of_code(largest, inputs), float(inputs.half if inputs.codes else 1)
        exact = inputs.codes is not None and not inputs.noise and inputs.half <= 2 ** (jnp.finfo(x.dtype).nmant + 1)
        return (codes.astype(x.dtype) if exact else codes), worth, full

    def _sent(self, codes: jax.Array, full: float, tile: Tile, name: str) -> jax.Array:
        """What enters the rows for some codes."""
        inputs = self.product.inputs
        if inputs is None or not inputs.noise:
            return codes
        return codes + self.normal(f"{name}inputs", codes, tile) * (self.strength * (inputs.noise * full))

    def _pass(
        self, sent: jax.Array, codes: jax.Array, worth: Any, full: float, w: jax.Array, tile: Tile, name: str
    ) -> jax.Array:
        """What the array gives for what enters its rows, converted; without noise it is codes that enter."""
        y, outputs = self._currents(sent, full, w, tile, name), self.product.outputs
        if self.seen is not None:
            quiet = replace(self, strength=jnp.zeros_like(self.strength))._currents(codes, full, w, tile, name)
            told = {"y": y, "quiet": quiet, "worth": worth}
            if outputs is not None and outputs.bound is not None:
                bound = self._bound(full, tile)
                given, beyond_ends = converted(y, bound, outputs), clipped(y, bound, outputs)
                told |= {"bound": bound, "codes": given, "clipped": beyond_ends}
            self.seen("outputs", told)
        if outputs is not None and outputs.bound is not None:
            bound = self._bound(full, tile)
            given, value = converted(y, bound, outputs), value_of_code(bound, outputs)
            if not outputs.corrected and not self.reference:
                return given * (value * worth)
            y = given * value
        if outputs is not None and outputs.corrected:
            if self.tables.offset is not None:
                y = y - self._at(self.tables.offset, tile) * self._unit(full, tile)
            if self.tables.gain is not None:
                y = y / self._at(self.tables.gain, tile)
        if self.reference:
            largest = self._at(self.tables.largest, tile)
            y = y - self.reference * largest * codes.sum(-1, keepdims=True, dtype=self._dtype(codes))
        return y * worth

    def _currents(self, sent: jax.Array, full: float, w: jax.Array, tile: Tile, name: str) -> jax.Array:
        """What arrives at the output converters, in codes of inputs times weights."""
        product, outputs, y = self.product, self.product.outputs, self._multiplied(sent, w, tile, name)
        if product.wire:
            y = y - jax.lax.stop_gradient(self._lost(sent, full, w, tile))
        if product.read_noise:
            y = y + self.normal(f"{name}read", y, tile) * jax.lax.stop_gradient(self._read_noise(sent, w, tile))
        if outputs is None:
            return y
        if outputs.noise:
            y = y + self.normal(f"{name}outputs", y, tile) * (self._unit(full, tile) * (self.strength * outputs.noise))
        if self.tables.gain is not None:
            y = y * self._at(self.tables.gain, tile)
        if self.tables.offset is not None:
            y = y + self._at(self.tables.offset, tile) * self._unit(full, tile)
        return y

    def _read_noise(self, sent: jax.Array, w: jax.Array, tile: Tile) -> jax.Array:
        """The standard deviation of the devices' own noise at each output."""
        largest, square = self._at(self.tables.largest, tile), sent.astype(self._dtype(sent)) ** 2
        factor = self.strength * self.product.read_noise
        if self.product.read_noise_of == "weights":
            return factor * jnp.sqrt(largest * self._dot(square, jnp.abs(w)))
        length = jnp.sqrt(square.sum(-1, keepdims=True))
        return factor * largest * length

    def _lost(self, sent: jax.Array, full: float, w: jax.Array, tile: Tile) -> jax.Array:
        """What the resistance of the wires takes away."""
        largest = self._at(self.tables.largest, tile)
        full_load = self.product.wire * sent.shape[-1] / (full * jnp.where(largest > 0, largest, 1))
        return lost(sent.astype(self._dtype(sent)), w, full_load, self._dot)

    def _multiplied(self, sent: jax.Array, w: jax.Array, tile: Tile, name: str) -> jax.Array:
        """The product itself, whose gradient to the inputs passes through the arrays where that is wanted."""
        back = self.back
        if back is None:
            return self._dot(sent, w)
        # All that is traced is handed over: what gives the gradient is traced elsewhere, as behind a loop.
        traced = [part if isinstance(part, jax.Array) else None for part in (self._matrix, tile)]
        beside = back.tables, self.strength, self.normal.key, self.normal.sign, *traced
        multiplied = jax.custom_vjp(lambda sent, w, beside: self._dot(sent, w))

        def slopes(kept: Any, slope: jax.Array) -> tuple[jax.Array, jax.Array, None]:
            sent, w, (tables, strength, key, sign, matrix, at) = kept
            matrix, at = self._matrix if matrix is None else matrix, tile if at is None else at
            starts, rows = np.cumsum([0, *self.layout.row_tiles]), sent.shape[-1]
            start = jnp.asarray(starts)[at] if isinstance(at, jax.Array) else starts[at]
            columns = matrix[..., None] * back.layout.columns + start + np.arange(rows)
            fresh = Fresh(key, sign, self.normal.number).beneath(f"back {name}", at)
            form = self.form.from_columns(slope.ndim, rows)
            through = Analog(back.product, form, back.layout, tables, columns, strength, fresh)
            _, of_weights = jax.vjp(lambda w: self._dot(sent, w), w)
            return through(slope, jnp.swapaxes(w, -1, -2)).astype(sent.dtype), *of_weights(slope), None

        multiplied.defvjp(lambda *given: (multiplied(*given), given), slopes)
        return multiplied(sent, w, beside)

    def _dot(self, sent: jax.Array, w: jax.Array) -> jax.Array:
        dtype = self._dtype(sent)
        return self.form.dot(sent, w.astype(sent.dtype), dtype)

    def _dtype(self, x: jax.Array) -> Any:
        return jnp.float64 if x.dtype == jnp.float64 else jnp.float32

    def _range(self, x: jax.Array, tile: Tile) -> Any:
        """The largest input of each vector, array, or of all."""
        given = None if self.product.inputs is None else self.product.inputs.range
        if self.tables.ranges is not None:
            found = self.tables.ranges[tile][self._matrix]
            return found.reshape(*found.shape, *[1] * (x.ndim - self.form.stack))
        if given == "dynamic":
            return largest_of(x, (x.ndim - 1,))
        if given == "batch":
            return largest_of(x, tuple(range(self.form.stack, x.ndim)))
        return 1.0 if given is None else given

    @property
    def _matrix(self) -> Any:
        """The number of the leaf's matrix, for each of the stack."""
        return self.columns[..., 0] // self.layout.columns

    def _unit(self, full: float, tile: Tile) -> jax.Array:
        """What one input at its full range gives through the largest weight, for each column."""
        return jax.lax.stop_gradient(self._at(self.tables.largest, tile)) * full

    def _bound(self, full: float, tile: Tile) -> jax.Array:
        outputs = self.product.outputs
        assert outputs is not None
        assert outputs.bound is not None
        return self._unit(full, tile) * outputs.bound

    def _at(self, table: jax.Array | None, tile: Tile) -> jax.Array:
        """What a table says of each output, in a shape that broadcasts to the outputs'."""
        assert table is not None
        if isinstance(self.columns, np.ndarray) and np.array_equal(self.columns.reshape(-1), np.arange(table.shape[1])):
            found = table[tile].reshape(self.columns.shape)
        else:
            found = table[tile][self.columns]
        stack, free = self.form.stack, len(self.form.inputs) - self.form.stack - self.form.rows
        return found.reshape(*found.shape[:stack], *[1] * free, *found.shape[stack:])
