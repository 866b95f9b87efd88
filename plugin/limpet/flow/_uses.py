"""What a traced program does with what was drawn in it, read from its probes.

A set of sources (arguments of the program, draws, loops that a value changes along) is carried through all operations,
as bits of a whole number, because a program may have thousands of arguments.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from .._jax import Function, Operation, Scan, array_of
from ._dataflow import Dataflow, Fact
from ._probe import PROBE, Kind, ProbeNotes
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
        if operation.name == PROBE:
            return [self._probe(path, fact, **operation.parameters) for path, fact in _by_path(operation, facts)]
        found = _joined(facts)
        for function in operation.functions:  # how the operation calls them is not known
            found |= _joined(self.results(function, [found] * len(function.arguments)))
        return [found] * len(operation.results)

    def _probe(self, path: str, found: int, notes: ProbeNotes, kind: Kind, **_: Any) -> int:
        self.seen[notes, kind, path] |= found
        if kind == "draw":
            drawn = self.bit((notes, kind, path))
            self.draws |= drawn
            return drawn | found & self.draws
        return found | self.bit((notes, kind, path)) if kind == "tangent" else found

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
        if operation.name == PROBE:
            if operation.parameters["kind"] == "number":
                self.seen[operation.parameters["notes"]] += facts
            return list(facts)
        return [facts[0] if operation.name in _COPIES else 0] * len(operation.results)

    def either(self, one: int, other: int) -> int:
        return one | other

    def chosen(self, fact: int, choice: int) -> int:
        return fact


class _Returned(KnownZeros):
    """Along which leaves a derivative comes back that is not known to be zero."""

    def __init__(self) -> None:
        self.seen: set[tuple[ProbeNotes, str]] = set()

    def operation(self, operation: Operation, facts: Sequence[bool]) -> list[bool]:
        if operation.name == PROBE and operation.parameters["kind"] == "cotangent":
            notes = operation.parameters["notes"]
            self.seen.update((notes, path) for path, zero in _by_path(operation, facts) if not zero)
        return super().operation(operation, facts)


def _by_path(probe: Operation, facts: Sequence[Fact]) -> Iterator[tuple[str, Fact]]:
    return zip(probe.parameters["paths"], facts, strict=True)


def depends_on(function: Function) -> list[frozenset[str]]:
    """The paths of the leaves whose draw each result of a traced function, which plants probes, depends on."""
    sources = _Sources()
    facts = sources.results(function, [0] * len(function.arguments))
    paths = {sources.bit(key): key[2] for key in sources.seen if key[1] == "draw"}
    return [frozenset(path for bit, path in paths.items() if fact & bit) for fact in facts]


def uses_in(function: Function) -> dict[ProbeNotes, Use]:
    """What a traced program does with the draws of loops that are audited, by the notes of their probes."""
    if not _is_judged(function):
        return {}
    sources, copies, returned = _Sources(), _Copies(), _Returned()
    arguments = [sources.bit(place) for place in range(len(function.arguments))]
    facts = sources.results(function, arguments)
    if any(kind == "cotangent" for _, kind, _ in sources.seen):
        returned.results(function, [False] * len(arguments))
    if any(_UPDATES in name for name in function.argument_names):
        copies.results(function, arguments)
    forms = {bit: array_of(variable) for bit, variable in zip(arguments, function.arguments, strict=True)}
    results = [(array_of(variable), fact) for variable, fact in zip(function.results, facts, strict=True)]
    names = dict(zip(arguments, function.argument_names, strict=False))
    return {
        notes: Use(
            **_Reader(sources, forms, results, notes).findings(frozenset(returned.seen)),
            counts_updates=_all_count_updates(copies.seen[notes], names),
        )
        for notes in {notes for notes, _, _ in sources.seen}
    }


def _is_judged(function: Function) -> bool:
    """Whether a program holds probes that belong to an audit of a loop."""
    return any(
        operation.parameters["notes"].judge is not None
        if operation.name == PROBE
        else any(map(_is_judged, operation.functions))
        for operation in function.operations
    )


def _all_count_updates(numbers: list[int], names: dict[int, str]) -> bool:
    """Whether each number of a draw may be a copy of an argument that counts updates."""
    counting = _joined(bit for bit, name in names.items() if _UPDATES in name)
    return bool(numbers) and all(fact & counting for fact in numbers)


Form = tuple[tuple[int, ...], Any]
"""A shape and a dtype."""


class _Reader:
    """Reads from the sources of a program's results what became of one draw."""

    def __init__(
        self, sources: _Sources, forms: dict[int, Form], results: list[tuple[Form, int]], notes: ProbeNotes
    ) -> None:
        self._forms, self._results, self._loops = forms, results, sources.loops
        self._probes: dict[str, dict[str, int]] = {kind: {} for kind in get_args(Kind)}
        """By kind and path, the sources of what a probe sits on."""
        everywhere: defaultdict[str, int] = defaultdict(int)
        for (of, kind, path), fact in sources.seen.items():
            if of is notes:
                self._probes[kind][path] = fact
            if kind == "draw":
                everywhere[path] |= sources.bit((of, kind, path))
        self._notes, self._drawn_anywhere = notes, everywhere
        self._draws = {path: sources.bit((notes, "draw", path)) for path in self._probes["draw"]}
        self._tangents = {path: sources.bit((notes, "tangent", path)) for path in self._probes["tangent"]}
        self._drawn, self._values = _joined(self._draws.values()), _joined(self._probes["nominal"].values())
        self._number = _joined(self._probes["number"].values())

    def findings(self, returned: frozenset[tuple[ProbeNotes, str]]) -> dict[str, Any]:
        """The fields of `Use`, but for the last."""
        everything = _joined(fact for _, fact in self._results)
        back = {path for notes, path in returned if notes is self._notes}
        back.update(path for path, bit in self._tangents.items() if everything & bit)
        erased, unread = self._beside()
        return {
            "reached": frozenset(back.union(path for path, bit in self._draws.items() if everything & bit)),
            "returned": frozenset(back),
            "erased": erased,
            "unread": unread,
            "decays": self._decays(),
            "trains": self._trains(),
            "constant": bool(self._probes["number"]) and not self._number,
            "repeated": bool(self._probes["number"]) and any(map(self._repeats, self._loops)),
        }

    def _beside(self) -> tuple[frozenset[str], frozenset[str]]:
        """The paths of leaves that the network reads beside their draws, and of those that it does not read at all.

        What is computed from the network, rather than from the leaf's own old value, has another shape than the leaf;
        a scalar may be a norm of all leaves. It cannot be told of a leaf that is no argument of its own.
        """
        by_shape: defaultdict[tuple[int, ...], int] = defaultdict(int)
        for (shape, _), fact in self._results:
            by_shape[shape] |= fact
        seen = shared = 0
        for fact in self._probes["nominal"].values():
            seen, shared = seen | fact, shared | seen & fact
        erased, unread = set[str](), set[str]()
        for path in self._draws:
            nominal = self._probes["nominal"].get(path, 0)
            if nominal not in self._forms or nominal & shared:
                continue
            others = _joined(fact for shape, fact in by_shape.items() if shape and shape != self._forms[nominal][0])
            if others and not others & self._drawn_anywhere[path]:
                (erased if others & nominal else unread).add(path)
        return frozenset(erased), frozenset(unread)

    def _decays(self) -> bool:
        back, given = self._probes["cotangent"].values(), {form for form, _ in self._results}
        data = _joined(bit for bit, form in self._forms.items() if form[0] and form not in given) & ~self._number
        met = any(fact & data for fact in back)
        return bool(back) and not met and any(fact & self._drawn and fact & data for _, fact in self._results)

    def _trains(self) -> bool:
        held = {form[0] for bit, form in self._forms.items() if self._values & bit}
        given: defaultdict[Form, int] = defaultdict(int)
        for bit, form in self._forms.items():
            given[form] |= bit if form[0] and form[0] not in held else 0
        return any(fact & self._drawn and fact & given[form] for form, fact in self._results)

    def _repeats(self, loop: tuple[int, int]) -> bool:
        carried, rows = loop
        return bool(self._values & carried) and not self._number & (carried | rows)


def _joined(facts: Iterable[int]) -> int:
    found = 0
    for fact in facts:
        found |= fact
    return found
