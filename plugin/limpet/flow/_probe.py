"""Probes: identities on what is drawn, which leave nothing in the compiled program.

They are found in traced functions, where `flow/_uses.py` reads from them what became of a draw: whether a loss depends
on it, whether it is new at each turn of a loop, whether a gradient comes back along it. Some of it they note while JAX
differentiates.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .._jax import identity_primitive, is_traced, is_tracing

PROBE = "limpet_probe"
Kind = Literal["nominal", "beside", "draw", "number", "tangent", "cotangent"]
"""Where a probe sits: on a nominal value that goes into a draw, or on another one that may be trained beside it; on a
deviated leaf; on the number or key by which draws are told apart; on the derivative along a deviated leaf, forwards or
backwards."""


_AT_ONCE = ContextVar("limpet: computed at once", default=False)


@contextmanager
def computed_at_once() -> Iterator[None]:
    """While a function is traced only to be computed at once, outside of any program that is compiled."""
    token = _AT_ONCE.set(True)
    try:
        yield
    finally:
        _AT_ONCE.reset(token)


def is_compiling() -> bool:
    """Whether what is traced just now becomes part of a program that is compiled."""
    return is_tracing() and not _AT_ONCE.get()


@dataclass(eq=False)
class ProbeNotes:
    """What belongs to the probes that were planted at one time, as `inject` was called once.

    Attributes:
        judge: the audit that they were planted for, None for none.
        planted: the paths of the leaves on which probes were planted in a traced function.
        differentiated: those along which a derivative was taken.
        in_gradient: whether a derivative was taken along any leaf that was given, deviating or not.
        shapes: the shapes of the leaves on whose draws probes were planted, by path, as they were there: what
            `jax.vmap` makes of a probe has an axis more.
    """

    judge: Any = None
    planted: set[str] = field(default_factory=set)
    differentiated: set[str] = field(default_factory=set)
    in_gradient: bool = False
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def plant(leaves: Mapping[str, Any], paths: Iterable[str], notes: ProbeNotes, kind: Kind = "draw") -> dict[str, Any]:
    """The same values by leaf path, with a probe on each of the leaves named.

    Only what is traced takes notes: outside `jit` there is no program to look at. A nominal value that a traced
    function has captured is no argument of its, and stays a value.
    """
    wanted = set(paths)
    probed = tuple(path for path in leaves if path in wanted and (kind == "draw" or is_traced(leaves[path])))
    if kind == "draw":
        notes.shapes.update((path, jnp.shape(leaves[path])) for path in probed)
    return {**leaves, **dict(zip(probed, _bind([leaves[path] for path in probed], probed, notes, kind), strict=True))}


def numbered(number: Any, notes: ProbeNotes) -> Any:
    """The same number of a step or a draw, or the same random key, with a probe on it."""
    if jnp.issubdtype(jnp.result_type(number), jax.dtypes.prng_key):
        (data,) = _bind([jax.random.key_data(number)], ("",), notes, "number")
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(number))
    return _bind([jnp.asarray(number)], ("",), notes, "number")[0]


def _bind(values: Sequence[Any], paths: tuple[str, ...], notes: ProbeNotes, kind: Kind) -> Sequence[Any]:
    """One operation for all values, because each operation takes its time to trace."""
    return _probe.bind(*values, paths=paths, notes=notes, kind=kind) if paths else ()


def _trace(*, paths: tuple[str, ...], notes: ProbeNotes, kind: Kind) -> None:
    if kind == "draw":
        notes.planted.update(paths)


def _differentiate(rates: Sequence[Any], *, paths: tuple[str, ...], notes: ProbeNotes, kind: Kind) -> Sequence[Any]:
    notes.in_gradient = True
    if kind != "draw":
        return rates
    notes.differentiated.update(paths)
    return _bind(rates, paths, notes, "tangent")


def _transpose(rates: Sequence[Any], *, paths: tuple[str, ...], notes: ProbeNotes, kind: Kind) -> Sequence[Any]:
    return _bind(rates, paths, notes, "cotangent") if kind == "tangent" else rates


_probe = identity_primitive(PROBE, _trace, _differentiate, _transpose)
