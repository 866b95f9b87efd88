"""One analog product, of matrices: see `limpet.Product` for its steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays._array import Layout
from ._convert import beyond, converted, ends, largest_of, value_of_code, within_learned
from ._form import Form, pieces
from ._product import Product
from ._tables import Tables
from ._wire import lost

Normal = Callable[[str, jax.Array], jax.Array]
"""`normal(name, like)`: standard normal numbers of the shape of values, new at each product."""
Seen = Callable[[dict[str, Any]], None]
"""Is given what a product saw and gave: arrays by name."""


@dataclass(frozen=True)
class Analog:
    """How one product is computed.

    Attributes:
        product: what the arrays compute.
        form: the axes of the operands.
        layout: where the leaf sits.
        tables: what is known of its columns on this chip.
        columns: the number of the column in these tables, for each of the product's, shape (stack..., columns...).
        strength: the factor on all that is random.
        normal: draws what is new at each product.
        seen: is given what the product saw and gave; None where nobody asks.
    """

    product: Product
    form: Form
    layout: Layout
    tables: Tables
    columns: Any
    strength: jax.Array
    normal: Normal
    seen: Seen | None = None

    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """The outputs of all arrays together.

        Args:
            x: inputs, shape (stack..., free..., rows).
            w: weights, shape (stack..., rows, columns...).

        Returns:
            Outputs, shape (stack..., free..., columns...).
        """
        total = self._total(x, w)
        return total if self.tables.gains is None else total * self._at(self.tables.gains, None)

    def _total(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """The outputs of all arrays, before digital factors."""
        sizes = self.layout.row_tiles
        if len(sizes) == 1:
            return self._array(x, w, None)
        total: Any = 0
        for part, held, tiles in pieces(x, w, self.form.stack, sizes):
            total = total + self._array(part, held, tiles).sum(self.form.stack)
        if not self.product.saturates:
            return total
        outputs, largest = self.product.outputs, self.tables.largest
        assert outputs is not None
        assert outputs.bound is not None
        assert largest is not None
        bound = self._at(largest.max(0, keepdims=True), None) * (outputs.bound * self._range(x, None))
        low, high = ends(outputs)
        return jnp.clip(total, bound * (low / high), bound)

    def _array(self, x: jax.Array, w: jax.Array, tiles: slice | None) -> jax.Array:
        """What arrays give whose rows are alike in number, as the network counts; see `Form.dot` for the axes."""
        inputs, number = self.product.inputs, "" if tiles is None else f"{tiles.start} "
        range_ = self._range(x, tiles)
        if inputs is None:
            return self._pass(x, 1.0, 1.0, w, tiles, number)
        if inputs.range == "learned":
            x = within_learned(x, range_, inputs.decay)
        if not inputs.signed:
            # What is 0 belongs to the first pass alone, or its gradient would count twice.
            below = jnp.where(x < 0, -x, -1)
            first = self._managed(x, range_, w, tiles, f"{number}+")
            second = self._managed(below, range_, w, tiles, f"{number}-")
            return first - jnp.where(self._of_outputs(jnp.any(x < 0, axis=-1, keepdims=True), tiles), second, 0)
        return self._managed(x, range_, w, tiles, number)

    def _managed(self, x: jax.Array, range_: Any, w: jax.Array, tiles: slice | None, name: str) -> jax.Array:
        """The outputs of inputs within a range, which grows for those vectors whose outputs are beyond the bound."""
        most, outputs = self.product.bound_management, self.product.outputs
        if not most or outputs is None:
            return self._converted(x, range_, w, tiles, name)
        held, weights = jax.lax.stop_gradient((x, w))

        def clipped_at(factor: jax.Array) -> jax.Array:
            sent, _, full = self._sent(held, range_ * factor, name)
            y = self._currents(sent, full, weights, tiles, name)
            clipped = beyond(y, self._bound(full, tiles), outputs)
            found = jnp.any(clipped, axis=tuple(range(y.ndim - self._columns, y.ndim)))
            return (found if tiles is None else jnp.moveaxis(found, self.form.stack, -1))[..., None]

        def wider(state: Any) -> Any:
            factor, found, turn = state
            factor = jnp.where(found, factor * 2, factor)
            return factor, clipped_at(factor), turn + 1

        start = jnp.ones((*x.shape[:-1], 1), self._dtype(x))
        factor, *_ = jax.lax.while_loop(
            lambda state: jnp.any(state[1]) & (state[2] < most), wider, (start, clipped_at(start), 0)
        )
        return self._converted(x, range_ * jax.lax.stop_gradient(factor), w, tiles, name)

    def _converted(self, x: jax.Array, range_: Any, w: jax.Array, tiles: slice | None, name: str) -> jax.Array:
        inputs = self.product.inputs
        assert inputs is not None
        sent, worth, full = self._sent(x, range_, name)
        if inputs.slice_bits is None:
            return self._pass(sent, worth, full, w, tiles, name)
        base, magnitude = 2**inputs.slice_bits, jnp.abs(jax.lax.stop_gradient(sent))
        total, factor = 0.0, 1
        while factor <= inputs.half:
            digit = jnp.floor(magnitude / factor) % base * jnp.sign(sent)
            digit = jax.lax.stop_gradient(digit.astype(sent.dtype))
            total = total + factor * self._pass(digit, worth, base - 1.0, w, tiles, f"{name}{factor}")
            factor *= base
        exact = self._dot(sent, w, tiles) * self._of_outputs(worth, tiles)
        return exact + jax.lax.stop_gradient(total - exact)

    def _sent(self, x: jax.Array, range_: Any, name: str) -> tuple[jax.Array, Any, float]:
        """What enters the rows, in codes; what a code is worth; and the code of the full range."""
        inputs = self.product.inputs
        assert inputs is not None
        if inputs.range is None:
            sent, worth, full = x.astype(self._dtype(x)), 1.0, 1.0
        else:
            largest = jnp.asarray(range_, self._dtype(x))
            sent = converted(x.astype(self._dtype(x)), largest, inputs)
            worth, full = value_of_code(largest, inputs), float(inputs.half if inputs.codes else 1)
        if inputs.noise:
            sent = sent + self.normal(f"{name}inputs", sent) * (self.strength * (inputs.noise * full))
        exact = inputs.codes is not None and not inputs.noise and inputs.half <= 2 ** (jnp.finfo(x.dtype).nmant + 1)
        return (sent.astype(x.dtype) if exact else sent), worth, full

    def _pass(self, sent: jax.Array, worth: Any, full: float, w: jax.Array, tiles: Any, name: str) -> jax.Array:
        """What the array gives for what enters its rows, converted."""
        y, outputs = self._currents(sent, full, w, tiles, name), self.product.outputs
        if outputs is not None and outputs.bound is not None:
            bound = self._bound(full, tiles)
            given, value = converted(y, bound, outputs), value_of_code(bound, outputs)
            if self.seen is not None:
                self.seen({"y": y, "bound": bound, "given": given})
            y = given * value
        if outputs is not None and outputs.corrected:
            if self.tables.offset is not None:
                y = y - self._at(self.tables.offset, tiles) * self._unit(full, tiles)
            if self.tables.gain is not None:
                y = y / self._at(self.tables.gain, tiles)
        return y * self._of_outputs(worth, tiles)

    def _currents(self, sent: jax.Array, full: float, w: jax.Array, tiles: Any, name: str) -> jax.Array:
        """What arrives at the output converters, in codes of inputs times weights."""
        product, outputs, y = self.product, self.product.outputs, self._dot(sent, w, tiles)
        if product.wire:
            y = y - jax.lax.stop_gradient(self._lost(sent, full, w, tiles))
        if product.read_noise:
            y = y + self.normal(f"{name}read", y) * jax.lax.stop_gradient(self._read_noise(sent, w, tiles))
        if outputs is None:
            return y
        if outputs.noise:
            y = y + self.normal(f"{name}outputs", y) * (self._unit(full, tiles) * (self.strength * outputs.noise))
        if self.tables.gain is not None:
            y = y * self._at(self.tables.gain, tiles)
        if self.tables.offset is not None:
            y = y + self._at(self.tables.offset, tiles) * self._unit(full, tiles)
        return y

    def _read_noise(self, sent: jax.Array, w: jax.Array, tiles: Any) -> jax.Array:
        """The standard deviation of the devices' own noise at each output."""
        largest, square = self._at(self.tables.largest, tiles), sent.astype(self._dtype(sent)) ** 2
        factor = self.strength * self.product.read_noise
        if self.product.read_noise_of == "weights":
            return factor * jnp.sqrt(largest * self._dot(square, jnp.abs(w), tiles))
        length = jnp.sqrt(square.sum(-1, keepdims=True))
        return factor * largest * self._of_outputs(length, tiles)

    def _lost(self, sent: jax.Array, full: float, w: jax.Array, tiles: Any) -> jax.Array:
        """What the resistance of the wires takes away."""
        largest = self._at(self.tables.largest, tiles)
        full_load = self.product.wire * sent.shape[-1] / (full * jnp.where(largest > 0, largest, 1))
        return lost(sent.astype(self._dtype(sent)), w, full_load, lambda x, w: self._dot(x, w, tiles))

    def _dot(self, sent: jax.Array, w: jax.Array, tiles: Any) -> jax.Array:
        dtype = self._dtype(sent)
        return self.form.dot(sent, w.astype(sent.dtype), dtype, cut=tiles is not None)

    def _dtype(self, x: jax.Array) -> Any:
        return jnp.float64 if x.dtype == jnp.float64 else jnp.float32

    def _range(self, x: jax.Array, tiles: slice | None) -> Any:
        """The largest input of each vector, array, or of all."""
        given = None if self.product.inputs is None else self.product.inputs.range
        if self.tables.ranges is not None:
            matrix = self.columns[(..., *[0] * self._columns)] // self.layout.columns
            found = self.tables.ranges[slice(0, 1) if tiles is None else tiles][:, matrix]  # tiles, stack...
            found = jnp.moveaxis(found, 0, -1)
            free = x.ndim - self.form.stack - (1 if tiles is None else 2)
            return found.reshape(*found.shape[:-1], *[1] * free, *found.shape[-1:], *([] if tiles is None else [1]))
        if given == "dynamic":
            return largest_of(x, (x.ndim - 1,))
        if given == "batch":
            kept = (*range(self.form.stack), *([] if tiles is None else [x.ndim - 2]))
            return largest_of(x, tuple(axis for axis in range(x.ndim) if axis not in kept))
        return 1.0 if given is None else given

    def _unit(self, full: float, tiles: Any) -> jax.Array:
        """What one input at its full range gives through the largest weight, for each column."""
        return self._at(self.tables.largest, tiles) * full

    def _bound(self, full: float, tiles: Any) -> jax.Array:
        outputs = self.product.outputs
        assert outputs is not None
        assert outputs.bound is not None
        return self._unit(full, tiles) * outputs.bound

    @property
    def _columns(self) -> int:
        """The number of axes that count columns."""
        return self.columns.ndim - self.form.stack

    def _at(self, table: jax.Array | None, tiles: slice | None) -> jax.Array:
        """What a table says of each output, in a shape that broadcasts to the outputs'."""
        assert table is not None
        if isinstance(self.columns, np.ndarray) and (self.columns.reshape(-1) == np.arange(table.shape[1])).all():
            found = table.reshape(table.shape[0], *self.columns.shape)
        else:
            found = table[:, self.columns]
        stack, free = self.form.stack, len(self.form.inputs) - self.form.stack - self.form.rows
        found = found[0] if tiles is None else jnp.moveaxis(found[tiles], 0, stack)
        at = stack + (tiles is not None)
        return found.reshape(*found.shape[:at], *[1] * free, *found.shape[at:])

    def _of_outputs(self, of_inputs: Any, tiles: Any) -> Any:
        """What is known of each input vector, in a shape that broadcasts to the outputs'."""
        if not np.ndim(of_inputs):
            return of_inputs
        of_vectors = of_inputs[..., 0]
        if tiles is not None:
            of_vectors = jnp.moveaxis(of_vectors, -1, self.form.stack)
        return of_vectors.reshape(*of_vectors.shape, *[1] * self._columns)
