"""The form of a product: its operands as matrices, cut into the arrays that hold the weights.

Inputs get the axes (stack..., free..., rows), weights (stack..., rows, columns), outputs (stack..., free..., columns),
whatever the axes of the user's product. Convolutions become products with what each of their outputs sees.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._jax import Operation
from .._jax import Product as Contraction
from ..arrays._array import Layout
from ..flow._view import Strand, View


@dataclass(frozen=True)
class Form:
    """How one product goes along the axes of its operands.

    Attributes:
        operation: the product as the user's function computes it.
        inputs: the order of the inputs' axes: stack, free, rows.
        weights: the order of the weights' axes: stack, rows, columns.
        stack: the number of axes of the stack.
        rows: the number of axes that are summed.
        columns: the sizes of the axes that count columns.
        swapped: whether the weights are the first operand, so that outputs have their columns before what is free.
        whole: whether the rows are all rows of the leaf in their order.
        whole_columns: whether the columns are all columns of the leaf in their order.
    """

    operation: Operation
    inputs: tuple[int, ...]
    weights: tuple[int, ...]
    stack: int
    rows: int
    columns: tuple[int, ...]
    swapped: bool
    whole: bool
    whole_columns: bool

    def from_columns(self, rank: int, rows: int) -> "Form":
        """The form of the product of what drives the columns with the same weights.

        Args:
            rank: the number of axes of what drives the columns.
            rows: the number of rows of the weights.
        """
        axes = (*range(self.stack), self.stack, self.stack + 1)
        return Form(self.operation, (*range(rank),), axes, self.stack, 1, (rows,), False, True, True)

    def matrices(self, x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Inputs and weights in their order, with one axis of rows and one of columns."""
        x, w = x.transpose(self.inputs), w.transpose(self.weights)
        return x.reshape(*x.shape[: x.ndim - self.rows], -1), w.reshape(*w.shape[: self.stack], -1, self._width)

    def dot(self, x: jax.Array, w: jax.Array, dtype: Any = None) -> jax.Array:
        """The product of inputs (stack..., free..., rows) with weights (stack..., rows, columns)."""
        stack = [*range(self.stack)]
        return self.operation.dot(x, w, ([x.ndim - 1], [self.stack]), (stack, stack), dtype)

    def columns_of(self, sites: Any) -> Any:
        """Something that the leaf has for each of its places, along the first row: shape (stack..., columns)."""
        ordered = sites.transpose(self.weights)
        first = ordered[(*[slice(None)] * self.stack, *[0] * self.rows)]
        return first.reshape(*first.shape[: self.stack], self._width)

    def known_columns(self, view: View) -> np.ndarray | None:
        """Where in the flat leaf the first row of each column lies, shape (stack..., columns); None if not known."""
        places = known_sites(view, (*self.weights[: self.stack], *self.weights[self.stack + self.rows :]))
        return None if places is None else places.reshape(*places.shape[: self.stack], self._width)

    @property
    def _width(self) -> int:
        return math.prod(self.columns)

    def outputs(self, y: jax.Array) -> jax.Array:
        """Outputs in the order that the user's product gives them."""
        y = y.reshape(*y.shape[:-1], *self.columns)
        if not self.swapped:
            return y
        free = y.ndim - self.stack - len(self.columns)
        places = [*range(self.stack), *range(self.stack + free, y.ndim), *range(self.stack, self.stack + free)]
        return y.transpose(places)


def form_of(operation: Operation, contraction: Contraction, place: int, view: View, rank: int, layout: Layout) -> Form:
    """The form of a product.

    Args:
        operation: the product.
        contraction: how it goes along the axes of its operands; none of them is grouped.
        place: which of both operands the weights are.
        view: the weights.
        rank: the number of axes of the inputs.
        layout: where the leaf sits.
    """
    own, other = contraction.summed[place], contraction.summed[1 - place]
    pairs = sorted(zip(own, other, strict=True), key=lambda pair: _first(view.axes[pair[0]]))
    rows = tuple(pair[0] for pair in pairs)
    stack, stack_of_inputs = contraction.stacked[place], contraction.stacked[1 - place]
    columns = tuple(axis for axis in range(len(view.axes)) if axis not in (*stack, *rows))
    summed = tuple(pair[1] for pair in pairs)
    free = tuple(axis for axis in range(rank) if axis not in (*stack_of_inputs, *summed))
    whole, whole_columns = (
        _is_whole([strand for axis in axes for strand in view.axes[axis]], places, layout.shape)
        for axes, places in ((rows, layout.inputs), (columns, layout.outputs))
    )
    return Form(
        operation,
        (*stack_of_inputs, *free, *summed),
        (*stack, *rows, *columns),
        len(stack),
        len(rows),
        tuple(view.shape[axis] for axis in columns),
        place == 0,
        whole,
        whole_columns,
    )


def unrolled(
    operation: Operation, x: jax.Array, held: Sequence[Any], view: View
) -> tuple[jax.Array, list[Any], View, Contraction, Callable[[jax.Array], jax.Array]]:
    """A convolution as a product with what each of its outputs sees.

    Args:
        operation: the convolution.
        x: its image.
        held: arrays of the kernel's shape: the kernel, and what goes with it.
        view: the kernel.

    Returns:
        Inputs; the arrays and the view as weights of the product; the product of both; and the function that gives its
        outputs the axes of the convolution's.
    """
    kernel, result = operation.image_axes
    groups = operation.product.groups  # pyright: ignore[reportOptionalMemberAccess]
    seen = operation.patches(x)
    seen = seen.reshape(*seen.shape[:-1], groups, -1)
    window = len(kernel) - 2
    order = tuple(kernel)  # outputs, channels, window
    sizes = [view.shape[axis] for axis in order]
    shape = (groups, sizes[0] // groups, *sizes[1:])
    view = view.placed(order, sizes).reshaped(shape)
    group, channels = seen.ndim - 2, seen.ndim - 1
    summed = (channels, *range(group - window, group)), tuple(range(2, 3 + window))
    contraction = Contraction(summed, ((group,), (0,)))

    def restored(y: jax.Array) -> jax.Array:
        y = jnp.moveaxis(y, 0, -2)  # images, places, groups, columns of a group
        y = y.reshape(*y.shape[:-2], -1)
        axes = (result[0], *result[2:], result[1])
        return y.transpose([axes.index(axis) for axis in range(len(axes))])

    return seen, [array.transpose(order).reshape(shape) for array in held], view, contraction, restored


def known_sites(view: View, axes: Sequence[int]) -> np.ndarray | None:
    """Where in the flat leaf the first row of each column lies, for some axes of a view; None where that is not known.

    Args:
        view: a view whose axes have not been cut or turned round.
        axes: its axes of the stack and of columns.
    """
    (leaf,) = view.leaves
    strides = [math.prod(leaf.shape[axis + 1 :]) for axis in range(len(leaf.shape))]
    places = np.zeros((), np.int64)
    for axis in axes:
        of_axis = np.zeros((), np.int64)
        for strand in view.axes[axis]:
            if len(strand.axes) > 1 or (strand.axes and strand.stride is None):
                return None
            step = strand.stride * strides[strand.axes[0]] if strand.axes else 0  # pyright: ignore[reportOptionalOperand]
            of_axis = np.add.outer(of_axis, np.arange(strand.size) * step)
        places = np.add.outer(places, of_axis.reshape(-1))
    return places


def numbers_of(layout: Layout) -> jax.Array:
    """The number of the column of each value of a leaf, counted through all matrices; see `columns_at`."""
    number = jnp.zeros(layout.shape, jnp.int32)
    for axis in (*layout.stack, *layout.outputs):
        number = number * layout.shape[axis] + jax.lax.broadcasted_iota(jnp.int32, layout.shape, axis)
    return number


def columns_at(places: Any, layout: Layout) -> Any:
    """The number of the column at places of the flat leaf, counted through all matrices: matrix columns + column."""
    shape = layout.shape
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    number: Any = 0
    for axis in (*layout.stack, *layout.outputs):
        number = number * shape[axis] + places // strides[axis] % shape[axis]
    return number + places * 0


def _first(strands: Sequence[Strand]) -> tuple[int, int]:
    return min(
        ((strand.axes[0], -(strand.stride or 0)) for strand in strands if strand.axes and strand.size > 1),
        default=(-1, 0),
    )


def _is_whole(strands: Sequence[Strand], axes: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether strands go along some axes of a leaf, all of each and in order."""
    held = iter([strand for strand in strands if strand.size != 1])
    for axis in axes:
        left = shape[axis]
        while left > 1:
            strand = next(held, None)
            if strand is None or strand.axes != (axis,) or left % strand.size:
                return False
            left //= strand.size
            if strand.stride != left:
                return False
    return next(held, None) is None
