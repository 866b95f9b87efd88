"""Arrays: where a leaf sits on the chip."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from .._checked import refusal, whole
from .._errors import LimpetError

AXES = (-64, 63)
"""The axes that a leaf may have."""


@dataclass(frozen=True, repr=False, eq=False)
class Array:
    """How the values of a leaf sit on physical crossbars: rows take inputs, columns give outputs.

    Where it says of leaves of some number of axes what leaves of which nothing is said are, it is equal to that.

    A leaf may hold one matrix or many: a stack of layers that `nnx.scan` goes through, the heads of an attention layer,
    a matrix that is larger than the crossbars. Whatever looks at all values of a crossbar (its largest weight, its
    levels, drift compensation) looks at one array, so that a network deviates in the same way stacked and unstacked.

    Attributes:
        stack: the axes of the leaf that count separate arrays, such as (0,) for layers stacked along the first axis.
            None: as the framework's module says, else none.
        outputs: the axes that count columns; all axes that are neither in the stack nor outputs count rows. None: as
            the framework's module says, else the last axis that is not in the stack.
        groups: the number of equal blocks along the outputs whose inputs are their own, as in a grouped convolution;
            each block is an array. None: as the framework's module says, else 1.
        rows: the rows of one physical array; a matrix with more inputs is cut into several, as evenly as possible.
            None: any number.
        columns: the columns of one physical array; None: any number.
        axes: the number of axes of the leaves that this is said of; None: any number.

    Raises:
        LimpetError: an argument is none of these, or an axis is both in the stack and an output.

    Examples:
        >>> Array(stack=0).layout((12, 64, 256))
        12 arrays of 64 x 256
        >>> Array(rows=512, columns=512).layout((1200, 300))
        3 arrays of 400 x 300
        >>> Array(outputs=(1, 2)).layout((96, 4, 24))
        1 array of 96 x 96
    """

    stack: tuple[int, ...] | None = None
    outputs: tuple[int, ...] | None = None
    groups: int | None = None
    rows: int | None = None
    columns: int | None = None
    axes: int | None = None

    if TYPE_CHECKING:  # one axis may be given as a number

        def __init__(
            self,
            stack: Sequence[int] | int | None = None,
            outputs: Sequence[int] | int | None = None,
            groups: int | None = None,
            rows: int | None = None,
            columns: int | None = None,
            axes: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        for key in ("stack", "outputs"):
            object.__setattr__(self, key, _checked_axes(getattr(self, key), f"Array.{key}"))
        for key in ("groups", "rows", "columns", "axes"):
            if getattr(self, key) is not None:
                object.__setattr__(self, key, whole(f"Array.{key}", getattr(self, key), 0 if key == "axes" else 1))
        if both := set(self.stack or ()) & set(self.outputs or ()):
            raise LimpetError(f"Array: axis {min(both)} is both in the stack and an output; an axis counts one of them")

    def over(self, default: "Array", ndim: int) -> "Array":
        """This array, with what it leaves open as another one says; an axis that both name counts what this one says.

        Args:
            default: what is known beside this.
            ndim: the number of axes of the leaf.

        Examples:
            >>> Array(stack=-2).over(Array(stack=(), outputs=(1, 2)), ndim=3)  # each head an array
            Array(stack=(-2,), outputs=(2,))
        """
        named = {axis % ndim for axis in (*(self.stack or ()), *(self.outputs or ())) if -ndim <= axis < ndim}
        left = {
            key: tuple(axis for axis in axes if axis % ndim not in named)
            for key in ("stack", "outputs")
            if (axes := getattr(default, key))
        }
        return replace(default, **left | self._given())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @cached_property
    def _content(self) -> tuple[Any, ...]:
        content = self.stack, self.outputs, self.groups, self.rows, self.columns, self.axes
        last = () if self.axes == 0 else (-1 if self.axes is None else self.axes - 1,)
        alone = (None,) * 6, ((), last, 1, None, None, self.axes)
        return () if content in alone else content

    def __repr__(self) -> str:
        return f"Array({', '.join(f'{key}={value}' for key, value in self._given().items())})"

    def _given(self) -> dict[str, Any]:
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: value for key, value in held.items() if value is not None}

    def described(self) -> dict[str, Any]:
        """The array as plain values, as a configuration writes it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in self._given().items()}

    def settled(self, shape: Sequence[int]) -> "Array":
        """The same array with nothing left open, for leaves of as many axes as a shape.

        Raises:
            LimpetError: the leaf does not fit, as `layout` says.
        """
        layout = self.layout(shape)
        return replace(self, stack=layout.stack, outputs=layout.outputs, groups=layout.groups, axes=len(shape))

    def layout(self, shape: Sequence[int]) -> "Layout":
        """Where the values of a leaf of some shape sit.

        Raises:
            LimpetError: the leaf has no such axis or another number of axes, an axis is named twice, or the outputs are
                no multiple of the groups.
        """
        ndim = len(shape)
        if self.axes not in (None, ndim):
            raise refusal("Array.axes", self.axes, f"a leaf of shape {tuple(shape)} has {ndim}")
        stack = _axes_of(self.stack or (), shape, "Array.stack")
        rest = [axis for axis in range(ndim) if axis not in stack]
        outputs = tuple(rest[-1:]) if self.outputs is None else _axes_of(self.outputs, shape, "Array.outputs")
        if both := set(stack) & set(outputs):
            raise LimpetError(
                f"Array: axis {min(both)} of a leaf of shape {tuple(shape)} is both in the stack and an output; an "
                f"axis counts one of them"
            )
        found = Layout(tuple(shape), stack, outputs, self.groups or 1, self.rows, self.columns)
        if found.columns % found.groups:
            reason = f"a leaf of shape {tuple(shape)} has {found.columns} outputs; allowed is a divisor of that"
            raise refusal("Array.groups", self.groups, reason)
        return found


@dataclass(frozen=True)
class Layout:
    """Where the values of a leaf of one shape sit; `Array.layout` makes it.

    Attributes:
        shape: the shape of the leaf.
        stack: the axes that count matrices, 0 or above, in order.
        outputs: the axes that count columns.
        groups: the number of blocks along the outputs.
        most_rows: the rows of one physical array; None for any number.
        most_columns: the columns of one physical array; None for any number.
    """

    shape: tuple[int, ...]
    stack: tuple[int, ...]
    outputs: tuple[int, ...]
    groups: int
    most_rows: int | None
    most_columns: int | None

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """The axes that count rows."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.stack + self.outputs)

    @property
    def stack_shape(self) -> tuple[int, ...]:
        """How many matrices there are along each axis of the stack."""
        return tuple(self.shape[axis] for axis in self.stack)

    @cached_property
    def matrices(self) -> int:
        """The number of matrices in the stack."""
        return math.prod(self.stack_shape)

    @cached_property
    def rows(self) -> int:
        """The rows of each matrix."""
        return self._size(self.inputs)

    @cached_property
    def columns(self) -> int:
        """The columns of each matrix, those of all groups."""
        return self._size(self.outputs)

    @cached_property
    def row_tiles(self) -> tuple[int, ...]:
        """The rows of each of the arrays that a matrix is cut into."""
        return tiles(self.rows, self.most_rows)

    @cached_property
    def column_tiles(self) -> tuple[int, ...]:
        """The columns of each of the arrays that a matrix is cut into."""
        return tiles(self.columns // self.groups, self.most_columns) * self.groups

    @cached_property
    def column_tiles_of_group(self) -> tuple[int, ...]:
        """The columns of each of the arrays that one group is cut into."""
        return self.column_tiles[: len(self.column_tiles) // self.groups]

    @cached_property
    def cut(self) -> bool:
        """Whether a matrix is on more than one array."""
        return len(self.row_tiles) > 1 or len(self.column_tiles) > 1

    @cached_property
    def arrays(self) -> int:
        """The number of arrays."""
        return self.matrices * len(self.row_tiles) * len(self.column_tiles)

    @property
    def block_shape(self) -> tuple[int, int, int, int]:
        """The shape of `blocks`: matrices, rows, groups, columns of a group."""
        return self.matrices, self.rows, self.groups, self.columns // self.groups

    def blocks(self, values: jax.Array) -> jax.Array:
        """The values of a leaf as matrices, of shape (matrices, rows, groups, columns of a group)."""
        return values.transpose(self._order).reshape(self.block_shape)

    def leaf(self, blocks: jax.Array) -> jax.Array:
        """What `blocks` takes apart, together again."""
        ordered = blocks.reshape([self.shape[axis] for axis in self._order])
        return ordered.transpose([self._order.index(axis) for axis in range(len(self.shape))])

    @property
    def _order(self) -> tuple[int, ...]:
        return self.stack + self.inputs + self.outputs

    def __str__(self) -> str:
        def sizes(parts: tuple[int, ...]) -> str:
            return f"{min(parts)}" if len(set(parts)) == 1 else f"{min(parts)} to {max(parts)}"

        number = f"{self.arrays} array{'' if self.arrays == 1 else 's'}"
        return f"{number} of {sizes(self.row_tiles)} x {sizes(self.column_tiles)}"

    __repr__ = __str__

    def _size(self, axes: tuple[int, ...]) -> int:
        return math.prod(self.shape[axis] for axis in axes)


def tiles(size: int, most: int | None) -> tuple[int, ...]:
    """The sizes of the parts that a matrix is cut into: as few and as even as possible, the larger ones first.

    Examples:
        >>> tiles(1201, 512)
        (401, 400, 400)
    """
    number = 1 if most is None else max(math.ceil(size / most), 1)
    even, more = divmod(size, number)
    return (even + 1,) * more + (even,) * (number - more)


def _checked_axes(given: Any, name: str) -> tuple[int, ...] | None:
    if given is None:
        return None
    axes = given if isinstance(given, tuple | list) else (given,)
    if not all(isinstance(axis, int | np.integer) for axis in axes):
        raise refusal(name, given, "allowed are a whole number, which counts an axis, and a tuple of them")
    return tuple(sorted(whole(name, axis, *AXES) for axis in axes))


def _axes_of(axes: tuple[int, ...], shape: Sequence[int], name: str) -> tuple[int, ...]:
    """Axes counted from 0 on, in order.

    Raises:
        LimpetError: a leaf of the shape has no such axis, or one is named twice.
    """
    found = sorted(axis + len(shape) if axis < 0 else axis for axis in axes)
    if any(axis not in range(len(shape)) for axis in found):
        held = f"axes 0 to {len(shape) - 1}" if shape else "no axis"
        raise refusal(name, axes, f"a leaf of shape {tuple(shape)} has {held}")
    if len(set(found)) < len(found):
        raise refusal(name, axes, f"an axis of a leaf of shape {tuple(shape)} is named twice")
    return tuple(found)


UNSAID = Array()
"""An array that leaves everything open."""
