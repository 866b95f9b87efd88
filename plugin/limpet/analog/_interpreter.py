"""Traced functions, computed anew with analog products in the place of those of marked leaves.

Every value of the function goes with what is known of it (`flow/_products.py`): a view of a marked leaf, or anything
else. What holds functions of its own, as loops, conditions and rematerialised functions do, is built anew around what
becomes of these; all else is computed as it stands.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import LimpetError
from .._jax import Call, Cond, Function, Number, Operation, Scan, While, array_of
from .._jax import Product as Contraction
from ..arrays._array import Array, Layout
from ..flow._probe import PROBE
from ..flow._products import (
    DATA,
    GATHERED,
    Computed,
    Fact,
    LeafFlow,
    Plain,
    array_of_product,
    fitted,
    plain,
    weights_among,
)
from ..flow._view import Leaf, View, view_of
from ._analog import Analog, Back, Seen
from ._form import Form, columns_at, form_of, numbers_of, unrolled
from ._fresh import Fresh
from ._mark import MARK, Chip, Note
from ._product import Product
from ._tables import Tables, require_ranges, tables_of
from ._values import KEEPING_ORDER, Value, beside_after, of_turn, scale_after, taken_rows


class Observer(Protocol):
    """Is told what products see and give while a function is traced."""

    def product(self, path: str, product: Product) -> Product:
        """What the arrays of a leaf compute, in place of what the hardware says."""
        ...

    def seen(self, path: str, number: int, layout: Layout, product: Product) -> Seen:
        """What is called with all that one product of a leaf saw and gave."""
        ...


@dataclass(frozen=True)
class _Marked:
    """A leaf that has a mark, with the tables of its arrays, or of each of its cells, by how they are driven, and how
    they are from the other side, with what they are called there."""

    note: Note
    chip: Chip
    tables: Mapping[Array, tuple[Layout, list[Tables]]]
    backs: Mapping[Array, tuple[Layout, str]]


class Interpreter(LeafFlow):
    """Computes traced functions with analog products.

    Args:
        observer: is told what each product saw and gave; None for nobody.
    """

    entries = frozenset({MARK})

    def __init__(self, observer: Observer | None = None) -> None:
        super().__init__()
        self._observer = observer
        self._marked: dict[Leaf, _Marked] = {}
        self._used: defaultdict[str, set[Array]] = defaultdict(set)
        """How the arrays of the leaf of each path are driven."""
        self._products: Counter[str] = Counter()
        """How many products there were already of the leaf of each path."""
        self._counters: list[jax.Array] = []
        """Of each loop around the present place, the number of its turn."""

    def results_of(self, function: Function, captured: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """The results of a traced function.

        Raises:
            LimpetError: the product of a marked leaf cannot be told, or a marked leaf has none.
        """
        self.results(function, [DATA] * len(arguments))  # to know how arrays are driven, before the first one is met
        found = self._evaluate(function, captured, [Value(held, DATA) for held in arguments])
        for leaf in self._marked:
            if not self._products[leaf.path]:
                raise LimpetError(
                    f"leaf '{leaf.path}' has a product, and the function contracts it with nothing: no dot, einsum or "
                    f"convolution of the leaf with inputs was found (an elementwise product that is summed afterwards "
                    f"is none). Compute with the tree that was drawn; or select leaves that are contracted, such as "
                    f"leaves='matrices'"
                )
        return [value.held for value in found]

    def _evaluate(self, function: Function, captured: Sequence[Any], arguments: Sequence[Value]) -> list[Value]:
        known: dict[Any, Value] = dict(zip(function.arguments, arguments, strict=True))
        known |= {
            variable: Value(held, DATA) for variable, held in zip(function.captured_variables, captured, strict=True)
        }

        def of(operand: Any) -> Value:
            return Value(operand.value, self.number(operand.value)) if isinstance(operand, Number) else known[operand]

        for operation in function.operations:
            found = self._computed(operation, list(map(of, operation.operands)))
            known |= zip(operation.results, found, strict=True)
        return list(map(of, function.results))

    def _computed(self, operation: Operation, values: list[Value]) -> list[Value]:
        facts, held = [value.fact for value in values], [value.held for value in values]
        if all(isinstance(fact, Plain) for fact in facts) and not self._enters(operation):
            fact = plain(operation, facts)
            return [Value(result, fact) for result in operation.bind(held)]
        if operation.name == MARK:
            return [self._mark(operation, values)]
        if operation.name == PROBE:
            return [replace(value, held=bound) for value, bound in zip(values, operation.bind(held), strict=True)]
        match operation.structure:
            case Scan() as scan:
                return self._scan(scan, values)
            case While() as loop:
                return self._while(loop, values)
            case Cond(branches):
                return self._switch(branches, values)
            case Call(body):
                return self._call(operation, body, values)
        if (contraction := operation.product) is not None:
            return self._multiplied(operation, contraction, values)
        found, bound, beside = self.operation(operation, facts), operation.bind(held), beside_after(operation, values)
        return [self._moved(operation, values, *of_result) for of_result in zip(found, bound, beside, strict=True)]

    def _moved(self, operation: Operation, values: list[Value], fact: Fact, held: Any, beside: Any) -> Value:
        """A result of an operation that is no product."""
        views = [value for value in values if isinstance(value.fact, View)]
        if not isinstance(fact, View):
            # What a matrix becomes that meets data value by value is no activation.
            lost = [value.fact for value in views if np.shape(held) == np.shape(value.held) and np.ndim(held) > 1]
            leaves = frozenset(leaf for view in lost if isinstance(view, View) for leaf in view.leaves)
            return Value(held, Computed(leaves) if leaves and fact == DATA else fact)
        moved = any(value.moved for value in views) or operation.name not in KEEPING_ORDER
        if operation.name == "concatenate" and len(fact.leaves) == len(values):
            return Value(held, fact, beside, moved, tuple(values), operation.joined or 0)
        own = set(fact.leaves)
        first = next(value for value in views if isinstance(value.fact, View) and own & set(value.fact.leaves))
        return Value(held, fact, beside, moved, scale=scale_after(operation, values, first))

    # ---- Functions within functions.

    def _scan(self, scan: Scan, values: list[Value]) -> list[Value]:
        carried = scan.constants + scan.carried
        inside = [value.fact.row() if isinstance(value.fact, View) else value.fact for value in values[carried:]]
        facts = [*(value.fact for value in values[:carried]), *inside]
        carry_facts, _ = self.scanned(scan, facts)
        constants, carry, rows = values[: scan.constants], values[scan.constants : carried], values[carried:]
        loop = _Carry(carry, carry_facts, scan.body, scan.constants)
        along, firsts = zip(*map(taken_rows, rows), strict=True) if rows else ((), ())
        given: list[Value] = []

        def body(state: Any, taken: Any) -> Any:
            turn, held = state
            number = scan.length - 1 - turn if scan.how["reverse"] else turn
            with self._turning(turn):
                of_turns = zip(rows, inside, taken, firsts, strict=True)
                own = [of_turn(row, fact, operands, number, first) for row, fact, operands, first in of_turns]
                arguments = [*constants, *loop.arguments(held), *own]
                results = self._evaluate(scan.body, scan.body.captured, arguments)
            given[:] = results
            return (turn + 1, loop.operands(results)), [value.operands for value in results[scan.carried :]]

        start = (jnp.uint32(0), loop.operands(carry))
        (_, last), stacked = jax.lax.scan(body, start, list(along), scan.length, **scan.how)
        views = [value.fact for value in values[carried:] if isinstance(value.fact, View)]

        def of_all_turns(fact: Fact) -> Fact:
            return fact.stacked(views, scan.length) if isinstance(fact, View) else fact

        rows_given = zip(given[scan.carried :], stacked, strict=True)
        return [
            *loop.results(last),
            *(Value(held, of_all_turns(value.fact), beside, True) for value, (held, beside) in rows_given),
        ]

    def _while(self, loop: While, values: list[Value]) -> list[Value]:
        first, second = loop.condition_constants, loop.condition_constants + loop.body_constants
        facts = [value.fact for value in values]
        carry = _Carry(values[second:], self.loop(loop, facts), loop.body, loop.body_constants)

        def goes_on(state: Any) -> Any:
            arguments = [*values[:first], *carry.arguments(state[1])]
            return self._evaluate(loop.condition, loop.condition.captured, arguments)[0].held

        def body(state: Any) -> Any:
            turn, held = state
            with self._turning(turn):
                arguments = [*values[first:second], *carry.arguments(held)]
                results = self._evaluate(loop.body, loop.body.captured, arguments)
            return turn + 1, carry.operands(results)

        _, last = jax.lax.while_loop(goes_on, body, (jnp.uint32(0), carry.operands(values[second:])))
        return carry.results(last)

    def _switch(self, branches: Sequence[Function], values: list[Value]) -> list[Value]:
        given: list[list[Value]] = []

        def taking(branch: Function) -> Callable[[Any], Any]:
            def computed(operands: Any) -> Any:
                arguments = [value.of(pair) for value, pair in zip(values[1:], operands, strict=True)]
                given.append(self._evaluate(branch, branch.captured, arguments))
                return [value.held for value in given[-1]]

            return computed

        operands = [value.operands for value in values[1:]]
        held = jax.lax.switch(values[0].held, [taking(branch) for branch in branches], operands)
        facts = [value.fact for value in given[0]]
        for other in given[1:]:
            facts = [self.either(fact, value.fact) for fact, value in zip(facts, other, strict=True)]
        return [Value(result, fact, (), True) for result, fact in zip(held, facts, strict=True)]

    def _call(self, operation: Operation, body: Function, values: list[Value]) -> list[Value]:
        if operation.name.startswith("custom_"):
            return self._custom(operation, body, values)
        if operation.name in ("jit", "pjit", "closed_call", "core_call"):
            return self._evaluate(body, body.captured, values)
        given: list[Value] = []

        def computed(*pairs: Any) -> Any:
            within = [value.of(pair) for value, pair in zip(values, pairs, strict=True)]
            if operation.name == "shard_map":  # which holds parts of leaves
                within = [replace(value, moved=True) for value in within]
            given[:] = self._evaluate(body, body.captured, within)
            return tuple(value.held for value in given)

        held = operation.calling(computed, [value.operands for value in values])
        return [Value(result, value.fact, (), True) for result, value in zip(held, given, strict=True)]

    def _custom(self, operation: Operation, body: Function, values: list[Value]) -> list[Value]:
        """The results of a function with a derivative of its own, which would be lost if it were computed anew."""
        before = {path: set(used) for path, used in self._used.items()}
        self._used.clear()
        facts = self.results(body, [value.fact for value in values])
        within = next((path for path, used in self._used.items() if used), None)
        self._used.update(before)
        if within is not None:
            raise LimpetError(
                f"leaf '{within}': its product stands within a function that has a derivative of its own "
                f"(jax.custom_vjp or jax.custom_jvp), which would be the exact product's. Take the product out of that "
                f"function, or leave the leaf without a product"
            )
        bound = operation.bind([value.held for value in values])
        return [
            Value(held, Computed(frozenset(fact.leaves)) if isinstance(fact, View) else fact)
            for held, fact in zip(bound, facts, strict=True)
        ]

    @contextmanager
    def _turning(self, turn: jax.Array) -> Iterator[None]:
        self._counters.append(turn)
        yield
        self._counters.pop()

    # ---- Leaves and products.

    def operation(self, operation: Operation, facts: Sequence[Fact]) -> list[Fact]:
        if operation.name == PROBE:
            return list(facts)
        if operation.name == MARK:  # where it is only asked what becomes of values, as at the turns of a loop
            note = operation.parameters["note"]
            return [
                view_of(Leaf(note.path, note.shape, operation.results[0]), array_of(operation.results[0])[0]) or DATA
            ]
        return super().operation(operation, facts)

    def multiplied(self, product: Contraction, operation: Operation, facts: Sequence[Fact]) -> Fact:
        weights = weights_among(facts)
        if len(weights) == 1 and isinstance(fact := facts[weights[0]], View):
            view = fact.resized(array_of(operation.operands[weights[0]])[0])
            used, _ = array_of_product(view, product, weights[0])
            if used is not None:
                for leaf in fact.leaves:
                    self._used[leaf.path].add(_driven(used))
        return super().multiplied(product, operation, facts)

    def note(self, where: Hashable, fact: Fact, how: str) -> None:
        pass

    def _mark(self, operation: Operation, values: list[Value]) -> Value:
        note: Note = operation.parameters["note"]
        if self._observer is not None:
            note = replace(note, product=self._observer.product(note.path, note.product))
        chip: Chip = operation.parameters["structure"].unflatten([value.held for value in values[1:]])
        chip = chip if note.product.learned else chip._replace(ranges=None)
        weights = values[0].held
        leaf = Leaf(note.path, note.shape, len(self._marked))
        if weights.shape != note.shape:
            raise LimpetError(
                f"leaf '{note.path}' has the shape {weights.shape} within limpet.products, and had {note.shape} where "
                f"it was drawn: jax.vmap maps over chips within limpet.products. Put it outside: "
                f"jax.vmap(limpet.products(...))"
            )
        view = view_of(leaf, note.shape)
        assert view is not None
        tables: dict[Array, tuple[Layout, list[Tables]]] = {}
        backs: dict[Array, tuple[Layout, str]] = {}
        if not note.product.ideal:
            layouts, backs = self._layouts(note)
            require_ranges(note.path, chip, note.product, [layout for layout, _ in layouts.values()])
            for driven, (layout, name) in layouts.items():
                names = [f"{name}{place} " for place in range(len(chip.cells))] or [name]
                tables[driven] = layout, [tables_of(chip, note.product, layout, name) for name in names]
        self._marked[leaf] = _Marked(note, chip, tables, backs)
        numbers = [numbers_of(layout) for layout, _ in tables.values()]
        return Value(weights, view, (*numbers, *chip.cells))

    def _layouts(self, note: Note) -> tuple[dict[Array, tuple[Layout, str]], dict[Array, tuple[Layout, str]]]:
        """How the arrays of a leaf are driven, by what products show, and what they are called there; and the same
        where they are driven from the other side.

        Raises:
            LimpetError: products show other arrays than the hardware says, of more than one kind.
        """
        said, shown = note.array.settled(note.shape), self._used[note.path]
        if len(shown) == 1 and _driven(said) not in shown:  # what is said was a default, as a rule
            (only,) = shown
            said = replace(only, rows=note.array.rows, columns=note.array.columns)
        back = replace(said, outputs=said.layout(note.shape).inputs, groups=1, rows=said.columns, columns=said.rows)
        found = {_driven(said): (said.layout(note.shape), ""), _driven(back): (back.layout(note.shape), "back ")}
        if stray := shown - found.keys():
            raise LimpetError(
                f"leaf '{note.path}' of shape {note.shape}: a product has {stray.pop()}, and the hardware says "
                f"{_driven(said)}: say array=limpet.Array(...) as products have it"
            )
        other = dict(zip(found, reversed(found.values()), strict=True))
        return {driven: found[driven] for driven in shown}, {driven: other[driven] for driven in shown}

    def _multiplied(self, operation: Operation, contraction: Contraction, values: list[Value]) -> list[Value]:
        facts = [fitted(*pair) for pair in zip((v.fact for v in values), operation.operands, strict=True)]
        weights, held = weights_among(facts), [value.held for value in values]
        fact = facts[weights[0]] if weights else DATA
        if len(weights) == 2:
            return [Value(result, self.multiplied(contraction, operation, facts)) for result in operation.bind(held)]
        if isinstance(fact, Computed) and np.ndim(held[weights[0]]) > 1:
            raise self._refusal(fact, "is computed with before the product")
        if not isinstance(fact, View) or array_of_product(fact, contraction, weights[0])[0] is None:
            return [Value(result, DATA) for result in operation.bind(held)]
        place = weights[0]
        # A device of a shard_map has a part of a leaf, of another shape.
        parts = [
            replace(part, fact=part.fact.resized(np.shape(part.held))) if isinstance(part.fact, View) else part
            for part in values[place].parts or (values[place],)
        ]
        axis = _axis_of(operation, contraction, place, values[place].along, np.ndim(held[1 - place]))
        if len(parts) > 1 and axis is None:
            raise self._refusal(fact, "is joined with others along what the product sums")
        products = [self._product_of(operation, contraction, place, part) for part in parts]
        if all(product.ideal for product in products):
            return [Value(result, DATA) for result in operation.bind(held)]
        found = [
            self._analog(operation, contraction, place, held[1 - place], part)
            if not product.ideal
            else operation.bind([part.held, held[1]] if place == 0 else [held[0], part.held])[0]
            for part, product in zip(parts, products, strict=True)
        ]
        y = found[0] if len(found) == 1 else jnp.concatenate(found, axis)
        return [Value(y.astype(array_of(operation.results[0])[1]), DATA)]

    def _product_of(self, operation: Operation, contraction: Contraction, place: int, weight: Value) -> Product:
        """What the arrays of a leaf compute, in a product that they can compute.

        Raises:
            LimpetError: they cannot.
        """
        view = weight.fact
        assert isinstance(view, View)
        (leaf, *others), changed = view.leaves, [word for word in view.changed if word != "scaled"]
        if changed or others or view.data:
            what = f" ({', '.join(changed)})" if changed else ""
            raise self._refusal(view, f"is changed before the product{what}")
        if operation.in_gradient:
            raise LimpetError(
                f"leaf '{leaf.path}': a gradient is taken within limpet.products, so that products of the gradient "
                f"would become analog ones, too. Take it outside: jax.grad(limpet.products(fn))"
            )
        product = self._marked[leaf].note.product
        _, unclear = array_of_product(view, contraction, place)
        if not product.ideal and (
            unclear or operation.name == "ragged_dot_general" or operation.is_turned_round(place)
        ):
            raise LimpetError(
                f"leaf '{leaf.path}': which of its axes are inputs and which outputs of a product ({operation.name}) "
                f"cannot be told, so that its arrays are not known"
            )
        if not product.ideal and "scaled" in view.changed and weight.scale is None:
            raise self._refusal(view, "is multiplied by a number that is not known")
        self._products[leaf.path] += 1
        return product

    def _analog(
        self, operation: Operation, contraction: Contraction, place: int, x: jax.Array, weight: Value
    ) -> jax.Array:
        """What the arrays of one leaf give for inputs, with the axes of the operation's result."""
        held, view, restored = [weight.held, *weight.beside], weight.fact, None
        assert isinstance(view, View)
        if weight.scale is not None:
            held[0] = held[0] / jnp.where(weight.scale == 0, 1, weight.scale).astype(held[0].dtype)
        marked, number = self._marked[view.leaves[0]], self._products[view.leaves[0].path] - 1
        path, product, note = marked.note.path, marked.note.product, marked.note
        used, _ = array_of_product(view, contraction, place)
        assert used is not None
        if operation.name == "conv_general_dilated":
            x, held, view, contraction, restored = unrolled(operation, x, held, view)
        layout, tables = marked.tables[_driven(used)]
        form = form_of(operation, contraction, place, view, x.ndim, layout)
        if not form.whole and (len(layout.row_tiles) > 1 or product.wire):
            raise LimpetError(
                f"leaf '{path}': a product sums along some of its rows, or along them in another order "
                f"({layout.rows} rows as {layout}), so that it cannot be told which array holds which. Multiply "
                f"the whole leaf, or say arrays of as many rows"
            )
        known = None if weight.moved or view.stepped else form.known_columns(view)
        if not weight.beside and (known is None or note.shares):
            raise LimpetError(
                f"leaf '{path}': which columns of its arrays a product has cannot be told after what moved its values. "
                f"Multiply the leaf as it was drawn, and pick of the result"
            )
        numbers = list(marked.tables).index(_driven(used))
        at = form.columns_of(held[1 + numbers]) if known is None else columns_at(known, layout)
        key = reduce(jax.random.fold_in, self._counters, marked.chip.fresh_key)
        strength = jnp.asarray(marked.chip.condition.scale, jnp.float32)
        seen = None if self._observer is None else self._observer.seen(path, number, layout, product)
        back = None if product.backward == "exact" else self._back(marked, used, form)
        shares, total = note.shares or (1.0,), sum(note.shares)
        cells = held[1 + len(marked.tables) :] if note.shares else held[:1]
        y: Any = 0
        for place, (share, own, weights) in enumerate(zip(shares, tables, cells, strict=True)):
            fresh = Fresh(key, marked.chip.condition.sign, f"{number}.{place}" if place else f"{number}")
            reference = note.reference / total if note.reference else 0.0
            analog = Analog(product, form, layout, own, at, strength, fresh, reference, seen, back)
            part = analog(*form.matrices(x, weights))
            y = part if share == 1 and not place else y + share * part
        y = form.outputs(y if weight.scale is None else y * weight.scale)
        return y if restored is None else restored(y)

    def _back(self, marked: _Marked, used: Array, form: Form) -> Back:
        """How gradients pass through the arrays of a product, from their columns to their rows.

        Raises:
            LimpetError: it cannot be told which row or column of the arrays is which.
        """
        (layout, name), grouped = marked.backs[_driven(used)], (used.groups or 1) > 1
        if grouped or layout.groups > 1 or not form.whole or not form.whole_columns:
            how = "is grouped" if grouped else "has a part of the leaf's rows and columns, or has them in another order"
            raise LimpetError(
                f"leaf '{marked.note.path}': backward = 'analog' drives whole arrays from their columns, and a product "
                f"{how}. Multiply the whole leaf, or say backward='exact'"
            )
        product = marked.note.product.transposed
        chip = marked.chip._replace(ranges=None, gains=None)
        return Back(product, layout, tables_of(chip, product, layout, name))

    def _refusal(self, fact: View | Computed, how: str) -> LimpetError:
        paths = ", ".join(sorted(f"'{leaf.path}'" for leaf in fact.leaves))
        picked = isinstance(fact, View) and GATHERED in fact.changed
        why = (
            "which array an index picks is known only when the function runs"
            if picked
            else "what the array would hold is not the leaf but what is computed of it (a mask, a norm of weights, the "
            "product of two leaves, kernels joined to one)"
        )
        return LimpetError(
            f"leaf {paths} {how}, so that its product is none of an array: {why}. Compute it before the draw, and draw "
            f"of the result; or leave the leaf without a product"
        )


class _Carry:
    """What a loop carries: views that stay as they are from turn to turn are taken from outside."""

    def __init__(self, values: Sequence[Value], facts: Sequence[Fact], body: Function, constants: int) -> None:
        arguments = body.arguments[constants : constants + len(values)]
        same = [result is argument for result, argument in zip(body.results, arguments, strict=False)]
        self._kept = [
            value if isinstance(value.fact, View) and stays else None for value, stays in zip(values, same, strict=True)
        ]
        self._facts = facts

    def operands(self, values: Sequence[Value]) -> list[Any]:
        return [value.held for value, kept in zip(values, self._kept, strict=False) if kept is None]

    def arguments(self, operands: Sequence[Any]) -> list[Value]:
        left = iter(operands)
        return [
            Value(next(left), fact, (), True) if kept is None else kept
            for fact, kept in zip(self._facts, self._kept, strict=True)
        ]

    def results(self, operands: Sequence[Any]) -> list[Value]:
        return self.arguments(operands)


def _axis_of(operation: Operation, contraction: Contraction, place: int, axis: int, rank: int) -> int | None:
    """The axis of a product's result that an axis of its weights becomes; None for one that is summed or stacked.

    Args:
        operation: the product.
        contraction: how it goes along the axes of its operands.
        place: which of both operands the weights are.
        axis: the axis of the weights.
        rank: the number of axes of the inputs.
    """
    if operation.name == "conv_general_dilated":
        kernel, result = operation.image_axes
        return result[1] if axis == kernel[0] and contraction.groups == 1 else None
    stack, summed = contraction.stacked[place], contraction.summed[place]
    if axis in (*stack, *summed):
        return None
    before = sum(other not in (*stack, *summed) for other in range(axis))
    free = 0 if place == 0 else rank - len(stack) - len(summed)
    return len(stack) + free + before


def _driven(array: Array) -> Array:
    """How an array is driven, apart from the size of its tiles."""
    return replace(array, rows=None, columns=None, axes=None)
