"""What a traced program does with what was drawn in it, read from its probes.

A set of sources (arguments of the program, draws, loops that a value changes along) is carried through all operations,
as bits of a whole number, because a program may have thousands of arguments.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .._jax import Function, Operation, Scan, array_of
from ._dataflow import Dataflow
from ._probe import PROBE, ProbeNotes
from ._zeros import KnownZeros

_COPIES = frozenset("convert_element_type copy copy_p reshape squeeze broadcast_in_dim optimization_barrier".split())
"""Operations that hand a number on as it is."""
_UPDATES = "gradient_step"
"""The name by which `optax.MultiSteps` counts updates, of which each takes several steps."""


@dataclass(frozen=True)
class Use:
    """What a program does with what was drawn in one place.

    Attributes:
        reached: the paths of the leaves whose draw some result depends on, were it by the gradient alone.
        returned: the paths of those along which a derivative comes back that is not zero whatever the numbers are.
        erased: the paths of those that the network reads, but beside their draws: no result of another shape than the
            leaf's depends on the draw, and one depends on the nominal value.
        unread: the paths of those that the network does not read: the results of other shapes depend on neither.
        decays: whether the draws meet no data, though what is computed from them does: they are in the weight decay.
        trains: whether something else than the leaves that deviate, which the program takes and gives, is computed from
            the draws, such as an adapter that is trained beside them.
        constant: whether the number or the key of the draw is a constant of the program.
        repeated: whether a loop that changes nominal values meets the same draw at each turn.
        counts_updates: whether the number of the draw is that by which `optax.MultiSteps` counts updates.
    """

    reached: frozenset[str]
    returned: frozenset[str]
    erased: frozenset[str]
    unread: frozenset[str]
    decays: bool
    trains: bool
    constant: bool
    repeated: bool
    counts_updates: bool


class _Sources(Dataflow[int]):
    """From which sources a value was computed.

    A draw stands for what it was computed from, so that an argument is a source of what uses it beside its draw.

    Attributes:
        seen: the sources of what a probe sits on, by its notes, its kind and its path.
        draws: the bits of all draws.
    """

    nothing = 0

    def __init__(self) -> None:
        self._bits: dict[Hashable, int] = {}
        self.seen: defaultdict[tuple[ProbeNotes, str, str], int] = defaultdict(int)
        self.draws = 0
        self.loops: list[tuple[int, int]] = []
        """Of each scan, the bit of what changes with what it carries, and of what changes along its rows."""

    def bit(self, source: Hashable) -> int:
        return self._bits.setdefault(source, 1 << len(self._bits))

    def number(self, value: Any) -> int:
        return 0

    def operation(self, operation: Operation, facts: Sequence[int]) -> list[int]:
        found = _joined(facts)
        if operation.name == PROBE:
            notes, kind, path = (operation.parameters[name] for name in ("notes", "kind", "path"))
            self.seen[notes, kind, path] |= found
            if kind == "draw":
                drawn = self.bit((notes, kind, path))
                self.draws |= drawn
                found = drawn | found & self.draws
            elif kind == "tangent":
                found |= self.bit((notes, kind, path))
        for function in operation.functions:  # how the operation calls them is not known
            found |= _joined(self.results(function, [found] * len(function.arguments)))
        return [found] * len(operation.results)

    def either(self, one: int, other: int) -> int:
        return one | other

    def chosen(self, fact: int, choice: int) -> int:
        return fact | choice

    def scan(self, scan: Scan, facts: list[int]) -> list[int]:
        bits = self.bit(("carried", id(scan.body.closed))), self.bit(("rows", id(scan.body.closed)))
        if bits not in self.loops:
            self.loops.append(bits)
        carried = scan.constants + scan.carried
        before = scan.body.arguments[scan.constants : carried]
        after = scan.body.results[: scan.carried]
        changing = [bits[0] * (one is not other) for one, other in zip(before, after, strict=True)]
        marks = [*[0] * scan.constants, *changing, *[bits[1]] * (len(facts) - carried)]
        results = super().scan(scan, [fact | mark for fact, mark in zip(facts, marks, strict=True)])
        return [fact & ~(bits[0] | bits[1]) for fact in results]


class _Copies(Dataflow[int]):
    """Of which arguments a value may be a copy; of numbers alone."""

    nothing = 0

    def __init__(self) -> None:
        self.seen: defaultdict[ProbeNotes, list[int]] = defaultdict(list)

    def number(self, value: Any) -> int:
        return 0

    def operation(self, operation: Operation, facts: Sequence[int]) -> list[int]:
        probe = operation.name == PROBE
        if probe and operation.parameters["kind"] == "number":
            self.seen[operation.parameters["notes"]].append(facts[0])
        return [facts[0] if probe or operation.name in _COPIES else 0] * len(operation.results)

    def either(self, one: int, other: int) -> int:
        return one | other

    def chosen(self, fact: int, choice: int) -> int:
        return fact


class _Returned(KnownZeros):
    """Along which leaves a derivative comes back that is not known to be zero."""

    def __init__(self) -> None:
        self.seen: set[tuple[ProbeNotes, str]] = set()

    def operation(self, operation: Operation, facts: Sequence[bool]) -> list[bool]:
        if operation.name == PROBE and operation.parameters["kind"] == "cotangent" and not facts[0]:
            self.seen.add((operation.parameters["notes"], operation.parameters["path"]))
        return super().operation(operation, facts)


def depends_on(function: Function) -> list[frozenset[str]]:
    """The paths of the leaves whose draw each result of a traced function, which plants probes, depends on."""
    sources = _Sources()
    facts = sources.results(function, [0] * len(function.arguments))
    paths = {sources.bit(key): key[2] for key in sources.seen if key[1] == "draw"}
    return [frozenset(path for bit, path in paths.items() if fact & bit) for fact in facts]


def uses_in(function: Function) -> dict[ProbeNotes, Use]:
    """What a traced program does with its draws, by the notes of their probes."""
    sources, copies, returned = _Sources(), _Copies(), _Returned()
    arguments = [sources.bit(place) for place in range(len(function.arguments))]
    facts = sources.results(function, arguments)
    notes_planted = {notes for notes, _, _ in sources.seen}
    if not notes_planted:
        return {}
    copies.results(function, arguments)
    returned.results(function, [False] * len(arguments))
    return {notes: _Reader(function, sources, arguments, facts, notes).use(copies, returned) for notes in notes_planted}


class _Reader:
    """Reads from the sources of all results what became of one draw."""

    def __init__(
        self, function: Function, sources: _Sources, arguments: list[int], facts: list[int], notes: ProbeNotes
    ) -> None:
        self._function, self._sources, self._arguments, self._notes = function, sources, arguments, notes
        self._forms = {bit: array_of(of) for bit, of in zip(arguments, function.arguments, strict=True)}
        self._results = [(array_of(of), fact) for of, fact in zip(function.results, facts, strict=True)]
        self._nominal = {path: fact for fact, path in self._probes("nominal")}
        self._values = _joined(self._nominal.values())
        self._number = _joined(fact for fact, _ in self._probes("number"))
        self._draws = {path: sources.bit((notes, "draw", path)) for _, path in self._probes("draw")}
        self._drawn = _joined(self._draws.values())

    def use(self, copies: _Copies, returned: _Returned) -> Use:
        everything = _joined(fact for _, fact in self._results)
        forwards = {
            path
            for _, path in self._probes("tangent")
            if everything & self._sources.bit((self._notes, "tangent", path))
        }
        numbered = bool(self._probes("number"))
        names = dict(zip(self._arguments, self._function.argument_names, strict=False))
        copied = [[name for bit, name in names.items() if fact & bit] for fact in copies.seen[self._notes]]
        back = frozenset(forwards | {path for notes, path in returned.seen if notes is self._notes})
        return Use(
            reached=back.union(path for path, bit in self._draws.items() if everything & bit),
            returned=back,
            erased=frozenset(filter(self._erased, self._draws)),
            decays=self._decays(),
            trains=any(self._trains(form, fact) for form, fact in self._results),
            unread=frozenset(path for path in self._draws if self._others(path) and not self._is_read(path)),
            constant=numbered and not self._number,
            repeated=numbered and any(map(self._repeated, self._sources.loops)),
            counts_updates=bool(copied) and all(any(_UPDATES in name for name in names) for names in copied),
        )

    def _probes(self, kind: str) -> list[tuple[int, str]]:
        seen = self._sources.seen.items()
        return [(fact, path) for (notes, of, path), fact in seen if notes is self._notes and of == kind]

    def _others(self, path: str) -> int:
        """The sources of all results of another shape than a leaf's, which are not made of its own updated value; 0 if
        there are none, or the leaf is no argument of its own."""
        nominal = self._nominal.get(path, 0)
        if nominal not in self._forms or any(nominal & fact for name, fact in self._nominal.items() if name != path):
            return 0
        return _joined(fact for (shape, _), fact in self._results if shape and shape != self._forms[nominal][0])

    def _is_drawn(self, path: str) -> bool:
        drawn = (self._sources.bit(key) for key in self._sources.seen if key[1:] == ("draw", path))
        return bool(self._others(path) & _joined(drawn))

    def _is_read(self, path: str) -> bool:
        return bool(self._others(path) & self._nominal[path]) or self._is_drawn(path)

    def _erased(self, path: str) -> bool:
        return bool(self._others(path)) and self._is_read(path) and not self._is_drawn(path)

    def _repeated(self, loop: tuple[int, int]) -> bool:
        carried, rows = loop
        return bool(self._values & carried) and not self._number & (carried | rows)

    def _decays(self) -> bool:
        back, given = self._probes("cotangent"), {form for form, _ in self._results}
        data = _joined(bit for bit, form in self._forms.items() if form[0] and form not in given) & ~self._number
        met = any(fact & data for fact, _ in back)
        return bool(back) and not met and any(fact & self._drawn and fact & data for _, fact in self._results)

    def _trains(self, form: tuple[tuple[int, ...], Any], fact: int) -> bool:
        held = {self._forms[bit][0] for bit in self._arguments if self._values & bit}
        given = any(fact & bit and self._forms[bit] == form for bit in self._arguments)
        return bool(form[0] and form[0] not in held and fact & self._drawn) and given


def _joined(facts: Iterable[int]) -> int:
    found = 0
    for fact in facts:
        found |= fact
    return found
