"""Values of a function that is computed anew, with what is known of them, and what goes with those of leaves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._jax import Operation, array_of
from ..flow._products import Fact
from ..flow._view import View

_IN_PLACE = frozenset("convert_element_type copy copy_p reduce_precision name neg mul div".split())
KEEPING_ORDER = _IN_PLACE | frozenset(
    "transpose reshape broadcast_in_dim squeeze optimization_barrier pvary pcast sharding_constraint mesh_cast reshard "
    "device_put".split()
)
"""Operations after which a view's axes still say where each value of it was in the leaf."""


@dataclass(frozen=True)
class Value:
    """A value of the function, and what is known of it.

    Attributes:
        held: the value.
        fact: what it is.
        beside: what goes with each value of a view: the numbers of its column, whole numbers, for each way in which the
            arrays are driven, and what each of its cells holds; empty where nothing asks for it.
        moved: whether the axes of a view no more say where its values were in the leaf.
        parts: the views of several leaves that were joined, where they were; else empty.
        along: the axis along which they were joined.
        scale: the number by which the values of a view were multiplied since they were drawn; None where that is not
            known, or there is none. An array holds them as they were drawn, and its outputs are multiplied.
    """

    held: Any
    fact: Fact
    beside: tuple[Any, ...] = ()
    moved: bool = False
    parts: tuple["Value", ...] = ()
    along: int = 0
    scale: Any = None

    @property
    def operands(self) -> tuple[Any, Any]:
        """What has to be handed into a function built anew."""
        return self.held, self.beside

    def of(self, operands: tuple[Any, Any], fact: Fact | None = None) -> "Value":
        """The same, of other operands, as those within a function."""
        return replace(self, held=operands[0], beside=operands[1], fact=self.fact if fact is None else fact)


def scale_after(operation: Operation, values: Sequence[Value], view: Value) -> Any:
    """The number by which a view was multiplied, after an operation that may multiply it by one more."""
    if operation.name not in ("neg", "mul", "div"):
        return view.scale
    (other,) = [value.held for value in values if value is not view] or [-1.0]
    factor = jnp.ravel(jnp.asarray(other))[0]  # any of them: where they are not alike, the product is refused
    factor = 1 / factor if operation.name == "div" else factor
    return factor if view.scale is None else view.scale * factor


def of_turn(row: Value, fact: Fact, operands: tuple[Any, Any], turn: jax.Array, first: Sequence[Any]) -> Value:
    """What a scan takes at a turn of a value that it goes along.

    Args:
        row: the value.
        fact: what its rows are.
        operands: the row, and what goes with it as far as the scan goes along that.
        turn: the number of the row.
        first: what goes with the first row and with the next, of all else; see `taken_rows`.
    """
    held, beside = operands
    numbers = [start + turn.astype(start.dtype) * (later - start) for start, later in first]
    return row.of((held, (*numbers, *beside)), fact)


def taken_rows(value: Value) -> tuple[tuple[Any, Any], list[tuple[Any, Any]]]:
    """What a scan has to go along for a value, and what goes with its first row and the next.

    The numbers of columns grow evenly along an axis of the leaf: they need not be held for all rows.
    """
    view = value.fact
    even = isinstance(view, View) and not value.moved and len(view.axes[0]) == 1 and len(view.axes[0][0].axes) == 1
    numbers = [part for part in value.beside if jnp.issubdtype(part.dtype, jnp.integer)] if even else []
    later = [(part[0], part[min(1, len(part) - 1)]) for part in numbers]
    return (value.held, value.beside[len(numbers) :]), later


def beside_after(operation: Operation, values: Sequence[Value]) -> list[tuple[Any, ...]]:
    """What goes with each result of an operation that moves values; nothing where that is not known."""
    count = max(len(value.beside) for value in values)
    moved = [
        _moved_alike(operation, values, [value.beside[place] if value.beside else None for value in values])
        for place in range(count)
    ]
    found = list(zip(*moved, strict=True)) if count else [()] * len(operation.results)
    return [() if any(part is None for part in beside) else beside for beside in found]


def _moved_alike(operation: Operation, values: Sequence[Value], beside: Sequence[Any]) -> list[Any]:
    """What goes with operands, as the operation moves these; None where that is not known."""
    unknown, first = [None] * len(operation.results), next(held for held in beside if held is not None)
    if len(values) == len(operation.results) > 1:  # as many values as there are operands, each as it is
        return list(beside)
    if operation.joined is not None:
        return unknown if any(held is None for held in beside) else operation.bind(beside)
    if (operation.placed is None and operation.repeated is None) or operation.name in _IN_PLACE:
        return [first if np.shape(first) == array_of(result)[0] else None for result in operation.results]
    if first is not beside[0] or operation.name == "pad":
        return unknown
    return operation.bind([first, *(value.held for value in values[1:])])
