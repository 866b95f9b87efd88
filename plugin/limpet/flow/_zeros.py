"""Values that are zero, whatever the numbers are.

JAX knows a derivative that is zero where nothing was computed. Loops and functions with a gradient of their own hand
back arrays of zeros instead, which have to be followed to where they come from.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._jax import Operation
from ._dataflow import Dataflow

_ALL = None
_NEEDED = {
    **dict.fromkeys(("add", "add_any", "sub", "concatenate", "stack", "max", "min"), _ALL),
    **dict.fromkeys(
        ("neg", "convert_element_type", "broadcast_in_dim", "reshape", "squeeze", "transpose", "rev", "tile"), (0,)
    ),
    **dict.fromkeys(("slice", "dynamic_slice", "gather", "copy", "copy_p", "real", "imag", "reduce_precision"), (0,)),
    **dict.fromkeys(("reduce_sum", "cumsum", "reduce_max", "reduce_min", "abs", "sign", "div", "pvary"), (0,)),
    **dict.fromkeys(("sharding_constraint", "expand_dims", "symbolic_zeros", "unstack"), (0,)),
    **dict.fromkeys(("pad", "dynamic_update_slice"), (0, 1)),
    **dict.fromkeys(("scatter-add", "scatter_add"), (0, 2)),
}
"""By operation: the operands of which all must be zero for its result to be."""
_PRODUCTS = ("mul", "dot_general", "conv_general_dilated")
"""Operations whose result is zero if one operand is."""


class KnownZeros(Dataflow[bool]):
    """Whether a value is zero; where that is not known, it counts as not zero."""

    nothing = False

    def number(self, value: Any) -> bool:
        return not np.any(value)

    def operation(self, operation: Operation, facts: Sequence[bool]) -> list[bool]:
        if operation.name in ("optimization_barrier", "limpet_probe"):
            return list(facts)
        if operation.name in _PRODUCTS:
            zero = any(facts)
        elif operation.name == "select_n":
            zero = all(facts[1:])
        else:
            needed = _NEEDED.get(operation.name, ())
            zero = all(facts) if needed is _ALL else bool(needed) and all(facts[place] for place in needed)
        return [zero] * len(operation.results)

    def either(self, one: bool, other: bool) -> bool:
        return one and other

    def chosen(self, fact: bool, choice: bool) -> bool:
        return fact
