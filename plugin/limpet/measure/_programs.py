"""Compiled programs, found by what was traced.

A function of the user's is traced anew at each call, so that what it does is what it would do now; tracing is quick.
Arrays that it captured are operands of its program. So a program depends on the operations alone, and serves every
function that comes to the same: nothing has to be known of functions, closures, modules and settings.
"""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from .._errors import LimpetError
from .._jax import Content, Function, content_of, is_tracing, is_weak, with_captured_arrays
from ..analog._products import with_analog_products
from ._progress import saying

Made = TypeVar("Made")

MOST_KEPT = 32
"""Programs kept at most; beyond it, the one used longest ago goes."""
_KEPT: OrderedDict[Hashable, Any] = OrderedDict()
_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class Trace:
    """A function, traced.

    Attributes:
        function: the operations, with analog products.
        results: the shape and dtype of each result, a pytree.
        written: the operations as the user wrote them.
    """

    function: Function
    results: Any
    written: Function

    @cached_property
    def content(self) -> Content:
        """What tells this function from others."""
        return content_of(self.function)

    @cached_property
    def captured(self) -> list[jax.Array]:
        """The arrays that the function captured, of random keys their data, which any device takes."""
        return [
            jax.random.key_data(array) if _is_key(array) else jnp.asarray(array) for array in self.function.captured
        ]

    def __call__(self, captured: Sequence[jax.Array], values: Sequence[Any]) -> list[Any]:
        """What the function gives, flat, for the arrays that it captured and for its flat arguments."""
        pairs = zip(self.function.captured, captured, strict=True)
        keyed = [
            jax.random.wrap_key_data(data, impl=jax.random.key_impl(array)) if _is_key(array) else data
            for array, data in pairs
        ]
        return self.function(keyed, values)


def traced(function: Callable[..., Any], *shapes: Any) -> Trace:
    """Trace a function once.

    Args:
        function: the function, jittable; a new one at each call, because JAX remembers what it has traced.
        *shapes: its arguments, or their shapes and dtypes.

    Raises:
        LimpetError: a function is being traced already: programs are run here, and a trace has no values.
    """
    if is_tracing():
        raise LimpetError(
            "virtual chips are measured within a function that JAX is tracing (jax.jit, jax.grad, jax.vmap, "
            "jax.lax.scan): measure outside of it, or through jax.pure_callback"
        )
    jaxpr, results = jax.make_jaxpr(lambda *arguments: function(*arguments), return_shape=True)(*shapes)
    written = with_captured_arrays(Function(jaxpr))
    return Trace(with_analog_products(written), results, written)


def kept(trace: Trace, operands: Any, beside: Hashable, build: Callable[[], Made]) -> Made:
    """The program of a traced function that is kept, or a new one.

    Args:
        trace: the function.
        operands: a pytree of the arrays that the program is called with; their shapes and places count.
        beside: all else that the program depends on.
        build: makes the program.
    """
    leaves, structure = jax.tree.flatten((trace.captured, operands))
    key = (trace.content, structure, tuple(map(form_of, leaves)), _settings(), beside)
    with _LOCK:
        if key in _KEPT:
            _KEPT.move_to_end(key)
            return _KEPT[key]
    with saying("limpet: compiling a program for virtual chips; a second call of the same kind compiles nothing"):
        program = build()
    with _LOCK:
        _KEPT[key] = program
        while len(_KEPT) > MOST_KEPT:
            _KEPT.popitem(last=False)
    return program


def form_of(leaf: Any) -> Hashable:
    """The shape and type of an array, and where it lies."""
    return jnp.shape(leaf), str(jnp.result_type(leaf)), is_weak(leaf), getattr(leaf, "sharding", None)


def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """A function, compiled for arguments of these shapes, or what was compiled for one that comes to the same.

    Args:
        function: the function, jittable; see `traced`.
        *arguments: pytrees of arrays.

    Returns:
        The function of such arguments.
    """
    trace = traced(function, *arguments)
    captured, structure = trace.captured, jax.tree.structure(trace.results)

    def flat(captured: Sequence[jax.Array], leaves: Sequence[jax.Array]) -> list[jax.Array]:
        return trace(captured, leaves)

    leaves = list(map(jnp.asarray, jax.tree.leaves(arguments)))
    program = kept(trace, leaves, "alone", lambda: jax.jit(flat).lower(captured, leaves).compile())
    return lambda *arguments: structure.unflatten(
        run(program, captured, list(map(jnp.asarray, jax.tree.leaves(arguments))))
    )


def run(program: Callable[..., Any], *arguments: Any) -> Any:
    """What a compiled program gives, NaN where a chip failed: also where JAX is told to stop at one (`jax_debug_nans`).

    A chip that fails is no mistake of the program's; it is counted.
    """
    with jax.debug_nans(False), jax.debug_infs(False):
        return program(*arguments)


def forget_programs() -> None:
    """Forget all programs."""
    with _LOCK:
        _KEPT.clear()


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Number:
    value: int


_NUMBERS = itertools.count()


@jax.jit
def _numbered() -> _Number:
    return _Number(next(_NUMBERS))


def _settings() -> int:
    """A number that stands for JAX's settings: where they differ, `jax.jit` traces anew, and the number is another."""
    with jax.disable_jit(False):
        return jax.eval_shape(_numbered).value


def _is_key(array: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(array), jax.dtypes.prng_key)
