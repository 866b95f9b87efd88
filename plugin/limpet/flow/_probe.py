"""Probes: does a draw reach what is differentiated or measured?

On each deviated leaf sits a probe, an identity that leaves nothing in the compiled program. There are two ways to read
them.

A function that is at hand as a whole (a metric, a loss given to `limpet.audit`) is traced, and each of its results is
followed back to the probes: see `Dependence`. That is exact, up to numbers: x - x depends on x.

A training step is not at hand: its probes take notes while JAX differentiates, transposes and lowers it. JAX removes
dead code before it lowers a function; so a probe whose lowering rule never ran sat on a value that nothing used. That
costs no run time and no second trace, and works wherever the step differentiates.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._jax import Function, Operation, identity_primitive
from ._dataflow import Dataflow
from ._zeros import KnownZeros

PROBE = "limpet_probe"


@dataclass(eq=False)
class ProbeNotes:
    """What the probes of one traced function saw.

    Attributes:
        planted: the paths of the leaves on which probes were planted in a traced function.
        compiled: those whose probe was compiled, so that something depends on the draw.
        differentiated: those along which a derivative was taken.
        returned: those along which a derivative came back that is not zero whatever the numbers are.
        in_gradient: whether a derivative was taken along any leaf that was given, deviating or not.
    """

    planted: set[str] = field(default_factory=set)
    compiled: set[str] = field(default_factory=set)
    differentiated: set[str] = field(default_factory=set)
    returned: set[str] = field(default_factory=set)
    in_gradient: bool = False
    zeros: KnownZeros = field(default_factory=KnownZeros, repr=False)

    @property
    def reached(self) -> set[str]:
        """The paths of the leaves whose draw something depends on."""
        return self.compiled | self.returned


def plant(leaves: Mapping[str, Any], paths: Iterable[str], notes: ProbeNotes) -> dict[str, Any]:
    """The same values by leaf path, with a probe on each of the leaves named.

    Only what is traced takes notes: outside `jit` there is no program to look at.
    """
    probed = leaves.keys() & set(paths)
    return {
        path: _probe.bind(leaf, path=path, notes=notes, kind="draw") if path in probed else leaf
        for path, leaf in leaves.items()
    }


def watch(leaves: Iterable[Any], notes: ProbeNotes) -> None:
    """Note whether a derivative is being taken along any of these values, which are real numbers."""
    for leaf in leaves:
        _probe.bind(leaf, path="", notes=notes, kind="witness")  # differentiated as it is bound; never used


class Dependence(Dataflow[frozenset[str]]):
    """On which draws a value depends: the paths of the probes that it was computed from."""

    nothing = frozenset()

    def number(self, value: Any) -> frozenset[str]:
        return self.nothing

    def operation(self, operation: Operation, facts: Sequence[frozenset[str]]) -> list[frozenset[str]]:
        found = self.nothing.union(*facts)
        if operation.name == PROBE and operation.parameters["kind"] == "draw":
            found |= {operation.parameters["path"]}
        for function in operation.functions:  # how the operation calls them is not known
            found = found.union(*self.results(function, [found] * len(function.arguments)))
        return [found] * len(operation.results)

    def either(self, one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
        return one | other

    def chosen(self, fact: frozenset[str], choice: frozenset[str]) -> frozenset[str]:
        return fact | choice


def depends_on(function: Function) -> list[frozenset[str]]:
    """The paths of the leaves whose draw each result of a traced function, which plants probes, depends on."""
    return Dependence().results(function, [frozenset()] * len(function.arguments))


def _trace(*, path: str, notes: ProbeNotes, kind: str) -> None:
    if kind == "draw":
        notes.planted.add(path)


def _lower(*, path: str, notes: ProbeNotes, kind: str) -> None:
    if kind == "draw":
        notes.compiled.add(path)
    elif kind == "tangent":  # differentiated forwards, where tangents are computed with the values
        notes.returned.add(path)


def _differentiate(value: Any, rate: Any, *, path: str, notes: ProbeNotes, kind: str) -> tuple[Any, Any]:
    notes.in_gradient = True
    if kind != "witness" and rate is not None:
        notes.differentiated.add(path)
        rate = _probe.bind(rate, path=path, notes=notes, kind="tangent")
    return _probe.bind(value, path=path, notes=notes, kind=kind), rate


def _transpose(cotangent: Any, *, path: str, notes: ProbeNotes, kind: str) -> None:
    if kind == "tangent" and cotangent not in notes.zeros:
        notes.returned.add(path)


_probe = identity_primitive(PROBE, _trace, _lower, _differentiate, _transpose)
"""The identity. Its kind is "draw" on a deviated leaf; "tangent" for the copy that differentiation makes, which stands
for no draw of its own; "witness" where only differentiation is to be noticed."""
