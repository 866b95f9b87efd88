"""Probes: does a draw reach what is differentiated or measured?

On each deviated leaf sits a probe, an identity that leaves nothing in the compiled program. JAX removes dead code
before it lowers a traced function; so a probe whose lowering rule never ran sat on a value that nothing used. That
costs no run time and no second trace, works wherever a function differentiates, and sees what really runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ..leaves._paths import leaves_by_path


@dataclass(eq=False)
class ProbeNotes:
    """What the probes of one traced function saw.

    Attributes:
        planted: the paths of the leaves on which probes were planted in a traced function.
        reached: those whose probe was compiled, so that something depends on the draw.
        differentiated: whether a derivative was taken through any of them.
    """

    planted: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)
    differentiated: bool = False


def plant(tree: Any, paths: Iterable[str], notes: ProbeNotes) -> Any:
    """The same tree with a probe on each of the leaves named.

    Only what is traced takes notes: outside `jit` there is no program to look at.
    """
    leaves, structure = leaves_by_path(tree)
    probed = leaves.keys() & set(paths)
    return structure.unflatten(
        _probe.bind(leaf, path=path, notes=notes, tangent=False) if path in probed else leaf
        for path, leaf in leaves.items()
    )


_probe = Primitive("limpet_probe")
"""The identity. `tangent` marks the copy of a probe that differentiation makes, which stands for no draw of its own."""


def _trace_probe(value: Any, *, path: str, notes: ProbeNotes, tangent: bool) -> Any:
    if not tangent:
        notes.planted.add(path)
    return value


def _lower_probe(ctx: Any, value: Any, *, path: str, notes: ProbeNotes, tangent: bool) -> list[Any]:
    notes.reached.add(path)
    return [value]


def _differentiate_probe(primals: Any, tangents: Any, *, notes: ProbeNotes, tangent: bool, **rest: Any) -> Any:
    (value,), (rate,) = primals, tangents
    notes.differentiated = True
    rate = rate if type(rate) is ad.Zero else _probe.bind(rate, tangent=True, notes=notes, **rest)
    return _probe.bind(value, tangent=tangent, notes=notes, **rest), rate


def _transpose_probe(cotangent: Any, value: Any, *, path: str, notes: ProbeNotes, tangent: bool) -> list[Any]:
    if type(cotangent) is not ad.Zero:
        notes.reached.add(path)  # a gradient comes back along this leaf, even if the loss itself is thrown away
    return [cotangent]


_probe.def_impl(lambda value, **_: value)
_probe.def_abstract_eval(_trace_probe)
mlir.register_lowering(_probe, _lower_probe)
batching.defvectorized(_probe)
ad.primitive_jvps[_probe] = _differentiate_probe
ad.primitive_transposes[_probe] = _transpose_probe
