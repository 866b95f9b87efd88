"""Cotangents that are zero, whatever the numbers are.

JAX knows a derivative that is zero where nothing was computed (`Zero`). Loops and functions with a gradient of their
own hand back arrays of zeros instead, which have to be followed to where they come from.
"""

from collections.abc import Sequence
from typing import Any
from weakref import ref

import numpy as np

from .._jax import Number, Operation, is_traced, number_of, origin_of
from ._dataflow import Dataflow

_ALL = None
_NEEDED = {
    **dict.fromkeys(("add", "add_any", "sub", "concatenate", "max", "min"), _ALL),
    **dict.fromkeys(
        ("neg", "convert_element_type", "broadcast_in_dim", "reshape", "squeeze", "transpose", "rev"), (0,)
    ),
    **dict.fromkeys(("slice", "dynamic_slice", "gather", "copy", "copy_p", "real", "imag", "reduce_precision"), (0,)),
    **dict.fromkeys(("reduce_sum", "cumsum", "reduce_max", "reduce_min", "abs", "sign", "div", "pvary"), (0,)),
    **dict.fromkeys(("sharding_constraint", "expand_dims", "symbolic_zeros", "limpet_probe"), (0,)),
    **dict.fromkeys(("pad", "dynamic_update_slice"), (0, 1)),
    **dict.fromkeys(("scatter-add", "scatter_add"), (0, 2)),
}
"""By operation: the operands of which all must be zero for its result to be."""
_PRODUCTS = ("mul", "dot_general", "conv_general_dilated")
"""Operations whose result is zero if one operand is."""


class _Zeros(Dataflow[bool]):
    nothing = False

    def number(self, value: Any) -> bool:
        return not np.any(value)

    def operation(self, operation: Operation, facts: Sequence[bool]) -> list[bool]:
        if operation.name == "optimization_barrier":
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


class KnownZeros:
    """Which values of functions that are being traced are zero, whatever the numbers are.

    It follows a traced value back to what it was computed from. Where JAX does not tell, a value counts as not zero.
    """

    def __init__(self) -> None:
        self._flow = _Zeros()
        self._known: dict[int, tuple[ref[Any], list[bool]]] = {}
        """Results of equations, by their place in memory: they are not hashable, and must not outlive their trace."""

    def __contains__(self, value: Any) -> bool:
        if not is_traced(value):
            return not np.any(np.asarray(value))
        waiting = [value]
        while waiting:  # no recursion: a program may be tens of thousands of operations deep
            if (origin := origin_of(waiting[-1])) is None or self._results(origin.equation) is not None:
                waiting.pop()
                continue
            operation = origin.operation
            producers = [(operand, origin_of(operand)) for operand in operation.operands]
            if unknown := [operand for operand, of in producers if of and self._results(of.equation) is None]:
                waiting += unknown
                continue
            facts = self._flow.through(operation, list(map(self._fact, operation.operands)))
            self._known[id(origin.equation)] = ref(origin.equation), facts
            waiting.pop()
        return self._fact(number_of(value))

    def _results(self, equation: Any) -> list[bool] | None:
        known = self._known.get(id(equation))
        return known[1] if known is not None and known[0]() is equation else None

    def _fact(self, value: Any) -> bool:
        if isinstance(value, Number):
            return self._flow.number(value.value)
        origin = origin_of(value)
        if origin is None or (results := self._results(origin.equation)) is None:
            return False
        return origin.place is not None and results[origin.place]
