"""What a traced program does with leaves: the products that contract them, and what else becomes of them.

Leaves enter a program at probes on what is drawn (`flow/_probe.py`). Their views are followed through everything that
moves, picks out or scales values, through scans, loops, conditions and calls, to where something is computed with them.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from .._jax import Function, Operation, Product, Scan, While, array_of
from ..arrays._array import Array
from ._dataflow import Dataflow
from ._probe import PROBE
from ._view import SCANNED, Leaf, Strand, View, joined, view_of

_ELEMENTWISE = frozenset(
    "neg abs sign floor ceil round exp exp2 log log1p expm1 tanh tan sin cos asin acos atan sinh cosh asinh acosh "
    "atanh logistic sqrt rsqrt cbrt square integer_pow erf erfc erf_inv clamp max min add add_any sub mul div rem pow "
    "atan2 select_n nextafter".split()
)
_FACTORS = frozenset("neg mul div".split())
"""Operations that scale a view, where all else that they take is one number."""
_UPDATES = frozenset(
    "dynamic_update_slice scatter scatter-add scatter_add scatter-mul scatter_mul scatter-min scatter-max".split()
)
GATHERED = "gathered"
_WORDS = {
    **dict.fromkeys(("add", "add_any", "sub"), "added"),
    **dict.fromkeys(("mul", "div"), "multiplied by values"),
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin", "cumsum"), "reduced"),
    **dict.fromkeys(("gt", "lt", "ge", "le", "eq", "ne"), "compared"),
    **dict.fromkeys(("concatenate", "stack"), "joined with other values"),
    "select_n": "chosen from",
}


@dataclass(frozen=True)
class Plain:
    """A value that depends on no leaf, or on data as well: an activation.

    Attributes:
        data: whether it depends on anything but numbers that stand in the program. What a function captured is data.
        uniform: whether all of its values are one number.
    """

    data: bool
    uniform: bool = False


@dataclass(frozen=True)
class Computed:
    """A value that is computed from leaves and numbers alone, but is no view: a norm, the product of two leaves."""

    leaves: frozenset[Leaf]


Fact = Plain | View | Computed
CONSTANT, DATA = Plain(False), Plain(True)


@dataclass(frozen=True)
class LeafUse:
    """What happens to a leaf at one place of a program.

    Attributes:
        leaf: the leaf.
        how: PRODUCT, or in words what else it is; CONTRACTED where a product of leaves is computed, without data.
        array: for a product, the arrays that it makes of the leaf: its stack, outputs and groups.
        unclear: for a product, the axes of the leaf of which one part counts something else than another part.
        calls: for a product, how often it computes with each value of the leaf on average, a batch counted once; None
            where a loop decides that, or an index. Within `jax.shard_map` it is one device's part of that.
        steps: for each axis of the leaf along which a scan goes or from which an index picks, which of both.
        changed: what happened to the values before, see `View`.
    """

    leaf: Leaf
    how: str
    array: Array | None = None
    unclear: frozenset[int] = frozenset()
    calls: Fraction | None = None
    steps: tuple[tuple[int, str], ...] = ()
    changed: tuple[str, ...] = ()


PRODUCT, CONTRACTED = "product", "multiplied with another leaf"


def uses_of(function: Function) -> list[LeafUse]:
    """What a traced function does with the leaves on whose draws it has probes, in the order of the program."""
    flow = LeafFlow()
    facts = flow.results(function, [DATA] * len(function.arguments))
    for place, fact in enumerate(facts):
        flow.note(place, fact, "given as a result")
    return list(_in_order(flow.noted))


Notes = dict[Hashable, Any]
"""By place: a list of uses; or, where an operation holds functions, the notes of their operations."""


def _in_order(notes: Notes) -> Iterable[LeafUse]:
    for noted in notes.values():
        yield from _in_order(noted) if isinstance(noted, dict) else noted


class LeafFlow(Dataflow[Fact]):
    """Which values are views of leaves, and what is computed with them.

    Attributes:
        noted: the uses of leaves at the present place. An operation that is gone through again, as in a loop until
            nothing changes any more, is noted as it is the last time.
    """

    nothing = DATA
    entries = frozenset({PROBE})
    """The names of the operations at which leaves enter."""

    def __init__(self) -> None:
        self.noted: Notes = {}
        self._turns: list[int | None] = []
        """Of each loop around the present place, how many turns it takes; None where that is not known."""
        self._entered: dict[int, bool] = {}
        """Whether leaves enter within a function, by its place in memory."""

    def number(self, value: Any) -> Fact:
        return Plain(False, uniform=np.size(value) == 1)

    def either(self, one: Fact, other: Fact) -> Fact:
        if one == other:
            return one
        if isinstance(one, Plain) and isinstance(other, Plain):
            return Plain(one.data or other.data)
        for fact in (one, other):
            self.note(fact, fact, "one of several values")
        return _computed((one, other))

    def chosen(self, fact: Fact, choice: Fact) -> Fact:
        return fact

    def through(self, operation: Operation, facts: list[Fact]) -> list[Fact]:
        place = operation.results[0] if operation.results else None
        if all(isinstance(fact, Plain) for fact in facts) and not self._enters(operation):
            self.noted.pop(place, None)
            return [plain(operation, facts)] * len(operation.results)
        outside, self.noted = self.noted, {}
        found = super().through(operation, facts)
        outside[place], self.noted = self.noted, outside
        return found

    def _enters(self, operation: Operation) -> bool:
        """Whether a leaf enters the program there."""
        if operation.name in self.entries:
            return True
        for function in operation.functions:
            key = id(function.closed)
            if key not in self._entered:
                self._entered[key] = any(map(self._enters, function.operations))
            if self._entered[key]:
                return True
        return False

    def scan(self, scan: Scan, facts: list[Fact]) -> list[Fact]:
        carried = scan.constants + scan.carried
        rows = [fact for fact in facts[carried:] if isinstance(fact, View)]
        inside = [*facts[:carried], *(fact.row() if isinstance(fact, View) else fact for fact in facts[carried:])]
        self._turns.append(scan.length)
        results = super().scan(scan, inside)
        self._turns.pop()
        given = [
            fact.stacked(rows, scan.length) if isinstance(fact, View) else _several(fact)
            for fact in results[scan.carried :]
        ]
        return [*results[: scan.carried], *given]

    def loop(self, loop: While, facts: list[Fact]) -> list[Fact]:
        self._turns.append(None)
        results = super().loop(loop, facts)
        self._turns.pop()
        return results

    def operation(self, operation: Operation, facts: Sequence[Fact]) -> list[Fact]:
        if operation.name == PROBE and operation.parameters["kind"] == "draw":
            return [_drawn(path, operand, operation) for path, operand in _probed(operation)]
        if (product := operation.product) is not None:
            return [self.multiplied(product, operation, facts)] * len(operation.results)
        found = _viewed(operation, facts)
        kept = {leaf for fact in found or () if isinstance(fact, View) for leaf in fact.leaves}
        for place, fact in enumerate(facts):
            if isinstance(fact, View) and kept.isdisjoint(fact.leaves):
                self.note(place, fact, _WORDS.get(operation.name, f"computed with ({operation.name})"))
        if found is not None:
            return found
        found = _computed(facts)
        for function in operation.functions:  # how the operation calls them is not known
            self.results(function, [found] * len(function.arguments))
        return [found] * len(operation.results)

    def multiplied(self, product: Product, operation: Operation, facts: Sequence[Fact]) -> Fact:
        """Note what a product does with leaves. What it gives for data is data."""
        facts = [fitted(*pair) for pair in zip(facts, operation.operands, strict=True)]
        weights = weights_among(facts)
        for place, fact in enumerate(facts):
            if [place] == weights and isinstance(fact, View):
                self._contract(fact, product, place)
            else:
                self.note(place, fact, CONTRACTED if len(weights) == 2 else "multiplied by values")
        return _computed(facts) if len(weights) == 2 else DATA

    def _contract(self, view: View, product: Product, place: int) -> None:
        array, unclear = array_of_product(view, product, place)
        if array is None:
            self.note(place, view, "multiplied by values")
            return
        calls = None if None in self._turns or GATHERED in view.changed else _calls(view, self._turns)
        self._note(place, [LeafUse(leaf, PRODUCT, array, unclear, calls, *_history(view)) for leaf in view.leaves])

    def note(self, where: Hashable, fact: Fact, how: str) -> None:
        """Note that a value of leaves is used otherwise than in a product; of other values nothing."""
        if isinstance(fact, View):
            if GATHERED in fact.changed:
                how = GATHERED
            elif fact.data:  # as by a mask
                how = _WORDS["mul"]
            self._note(where, [LeafUse(leaf, how, None, frozenset(), None, *_history(fact)) for leaf in fact.leaves])

    def _note(self, where: Hashable, uses: list[LeafUse]) -> None:
        self.noted[where] = uses


def weights_among(facts: Sequence[Fact]) -> list[int]:
    """Which of the two operands of a product hold leaves rather than data."""
    weights = [place for place, fact in enumerate(facts[:2]) if not isinstance(fact, Plain)]
    if len(weights) == 2:  # an embedding that was looked up, or a mask, meets a weight as data do
        own = [place for place in weights if not _met_data(facts[place])]
        weights = own if len(own) == 1 else weights
    return weights


def _probed(probe: Operation) -> Iterable[tuple[str, Any]]:
    return zip(probe.parameters["paths"], probe.operands, strict=True)


def _drawn(path: str, operand: Any, probe: Operation) -> Fact:
    notes, (shape, _) = probe.parameters["notes"], array_of(operand)
    return view_of(Leaf(path, notes.shapes.get(path, shape), notes), shape) or DATA


def fitted(fact: Fact, operand: Any) -> Fact:
    """What is known of a value; within `jax.shard_map` a device has a part of it, of another shape."""
    return fact.resized(array_of(operand)[0]) if isinstance(fact, View) else fact


def _viewed(operation: Operation, facts: Sequence[Fact]) -> list[Fact] | None:
    """What is known of the results of an operation that keeps views; None where it is no such operation."""
    shapes = [array_of(result)[0] for result in operation.results]
    first = fitted(facts[0], operation.operands[0])
    if (along := operation.joined) is not None:
        if not all(isinstance(fact, View) for fact in facts):
            return None
        views: Any = [fitted(*pair) for pair in zip(facts, operation.operands, strict=True)]
        if len(shapes[0]) > len(views[0].shape):
            views = [view.widened(along) for view in views]
        found = joined(views, along, shapes[0][along])
        return None if found is None else [found]
    if (times := operation.repeated) is not None:
        return [first.tiled(times) if isinstance(first, View) else first]
    if operation.name in _ELEMENTWISE:
        found = _changed(operation, facts, shapes[0])
        return None if found is None else [found]
    if operation.name in _UPDATES and isinstance(first, View):
        rest = _computed(facts[1:])
        return [first.changing(operation.name, rest == DATA)] if isinstance(rest, Plain) else None
    if (places := operation.placed) is not None and len(facts) == len(operation.results) > 1:
        return list(facts)  # as many values as there are operands, each as it is
    if places is None:
        return None
    if not isinstance(first, View):
        return [first] if len(shapes) == 1 else None
    if operation.name == "reshape":
        return [first.placed(places, [first.shape[place or 0] for place in places]).reshaped(shapes[0])]
    moved = [first.placed(places, shape) for shape in shapes]
    if operation.name != "gather":
        return list(moved)
    return [view.changing(GATHERED, data=_computed(facts[1:]) == DATA) for view in moved]


def _changed(operation: Operation, facts: Sequence[Fact], shape: tuple[int, ...]) -> View | None:
    """The view after an operation that computes value by value; None where it is one no more.

    A matrix that meets other values of its own shape is still one: a mask, a scale by column, what is computed of
    other leaves. What is repeated along a batch, or is a vector, is none any more once it has met data.
    """
    many = [
        fitted(*pair) for pair in zip(facts, operation.operands, strict=True) if not _is_uniform(*pair)
    ]  # all but single numbers
    views = {fact for fact in many if isinstance(fact, View) and fact.shape == shape}
    if len(views) > 1:  # a scale by column, which is repeated, beside a matrix
        views = {fact for fact in views if not fact.repeated}
    if len(views) != 1:
        return None
    (view,) = views
    others = [fact for fact in many if fact != view]
    if len(many) == 1 and operation.name in _FACTORS and not (operation.name == "div" and facts[0] != view):
        return view.changing("scaled")
    data = _computed(others) == DATA
    if data and (operation.name not in ("mul", "div", "select_n") or view.repeated or view.rank < 2):
        return None
    return view.changing(operation.name, data)


def _is_uniform(fact: Fact, operand: Any) -> bool:
    if isinstance(fact, Plain) and fact.uniform:
        return True
    shape, _ = array_of(operand)
    return all(size == 1 for size in shape)


def plain(operation: Operation, facts: Sequence[Fact]) -> Plain:
    """What is known of a value that no leaf is part of."""
    data = any(fact.data for fact in facts if isinstance(fact, Plain))
    keeps = operation.name in _ELEMENTWISE or operation.name in ("reshape", "broadcast_in_dim", "convert_element_type")
    uniform = keeps and all(_is_uniform(*pair) for pair in zip(facts, operation.operands, strict=True))
    return Plain(data, uniform)


def _several(fact: Fact) -> Fact:
    """What is known of values, of each of which so much is known."""
    return replace(fact, uniform=False) if isinstance(fact, Plain) else fact


def _met_data(fact: Fact) -> bool:
    return isinstance(fact, View) and (fact.data or fact.repeated)


def _computed(facts: Iterable[Fact]) -> Fact:
    """What is known of a value that is computed from others."""
    leaves: set[Leaf] = set()
    for fact in facts:
        if isinstance(fact, Plain):
            if fact.data:
                return DATA
        elif isinstance(fact, View):
            if fact.data:
                return DATA
            leaves.update(fact.leaves)
        else:
            leaves |= fact.leaves
    return Computed(frozenset(leaves)) if leaves else CONSTANT


def array_of_product(view: View, product: Product, place: int) -> tuple[Array | None, frozenset[int]]:
    """The arrays that a product makes of a leaf, and the axes of which it cannot be told what they count.

    Returns:
        None for the arrays where the product does not sum along the leaf.
    """
    counted: dict[str, list[Strand]] = {"stack": [strand for strand, _ in view.stepped], "inputs": [], "outputs": []}
    groups = product.groups if place == 1 else 1
    for axis, strands in enumerate(view.axes):
        if axis in product.summed[place]:
            counted["inputs"] += strands
        elif axis in product.stacked[place]:
            counted["stack"] += strands
        elif place == 1 and axis == product.grouped:
            for strand in strands[:-1]:
                is_block = groups > 1 and groups % strand.size == 0
                groups = groups // strand.size if is_block else groups
                counted["stack" if is_block else "outputs"].append(strand)
            counted["outputs"] += strands[-1:]
        else:
            counted["outputs"] += strands
    of = {what: {axis for strand in strands for axis in strand.axes} for what, strands in counted.items()}
    if not of["inputs"]:
        return None, frozenset()
    if not of["outputs"] and view.stepped:  # a row at a time, of a matrix that is multiplied by its rows
        of["outputs"] = set(view.stepped[-1][0].axes) - of["inputs"]
        of["stack"] -= of["outputs"]
    unclear = of["inputs"] & (of["stack"] | of["outputs"])
    for strand in [strand for strands in counted.values() for strand in strands if len(strand.axes) > 1]:
        unclear |= set(strand.axes)
    for axis in of["stack"] & of["outputs"] - unclear:
        if (blocks := _blocks(axis, counted["stack"], counted["outputs"])) is None:
            unclear |= {axis}
        else:
            groups *= blocks
    stack, outputs = of["stack"] - of["outputs"] - of["inputs"], of["outputs"] - of["inputs"]
    return Array(stack=tuple(sorted(stack)), outputs=tuple(sorted(outputs)), groups=groups), frozenset(unclear)


def _blocks(axis: int, stack: Sequence[Strand], outputs: Sequence[Strand]) -> int | None:
    """The number of blocks along outputs that are arrays of their own; None where they are no blocks."""
    slow = [strand for strand in stack if axis in strand.axes]
    fast = [strand for strand in outputs if axis in strand.axes]
    if any(one.stride is None or other.stride is None or one.stride < other.stride for one in slow for other in fast):
        return None
    return int(np.prod([strand.size for strand in slow]))


def _calls(view: View, turns: Sequence[int | None]) -> Fraction:
    held = sum(int(np.prod(leaf.shape, dtype=int)) for leaf in view.leaves)
    return Fraction(view.count * int(np.prod([turn or 0 for turn in turns], dtype=int)), max(held, 1))


def _history(view: View) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
    """The steps along the leaf's axes, and what changed its values, as `LeafUse` has them."""
    steps = {axis: how for strand, how in view.stepped for axis in strand.axes}
    steps |= {axis: how for strand, how in view.stepped for axis in strand.axes if how == SCANNED}
    return tuple(sorted(steps.items())), view.changed
