"""All that Limpet uses of JAX beyond its documented public API, in one place.

No other file imports from `jax.core`, `jax.extend`, `jax.interpreters` or `jax._src`, or reads the fields of jaxprs,
their equations and tracers; `tests/test_package.py` holds that. Each entry says what breaks when JAX changes it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.extend.core import Literal, Primitive, jaxpr_as_fun
from jax.extend.random import define_prng_impl as define_prng_impl  # without it there is no generator "fast"
from jax.interpreters import ad, batching, mlir


def is_traced(value: Any) -> TypeGuard[Tracer]:
    """Whether a value is one that JAX is tracing, so that it has no number yet.

    If JAX renames `jax.core.Tracer`, importing Limpet fails.
    """
    return isinstance(value, Tracer)


def is_tracing() -> bool:
    """Whether a function is being traced just now, so that nothing computed here has a number yet."""
    return is_traced(jnp.zeros(()))


# ---- Traced functions: jaxprs and their equations. If JAX renames a field that is read here, every curve, audit and
# ---- audited step fails with an AttributeError.


class Number(NamedTuple):
    """A number that stands in a traced function: JAX's `Literal`."""

    value: Any


class Operation(NamedTuple):
    """One operation of a traced function: an equation of its jaxpr.

    Attributes:
        name: the name of the primitive. Names are text: one that JAX changes counts as an operation that is not known,
            and nothing says so.
        parameters: its static parameters by name.
        operands: what it takes: each a `Number`, or a variable, which is hashable and compared by identity. Of an
            operation that is just being traced, a traced value in place of a variable.
        results: the variables that it gives.
    """

    name: str
    parameters: Mapping[str, Any]
    operands: Sequence[Any]
    results: Sequence[Any]

    @property
    def functions(self) -> Iterator["Function"]:
        """The traced functions among its parameters."""
        for parameter in self.parameters.values():
            for held in parameter if isinstance(parameter, tuple) else (parameter,):
                if hasattr(held, "eqns"):
                    yield Function(held)

    @property
    def structure(self) -> "Scan | While | Cond | Call | None":
        """How the operation puts its operands into the functions that it holds; None if it holds none, or is not known.

        Scans and loops are told apart by the names of their primitives, and their functions are found by the names of
        parameters (`jaxpr`, `cond_jaxpr`, `body_jaxpr`, `branches`): another name is a KeyError. How many operands are
        constants follows from shapes and counts, because the parameters that say so changed in JAX 0.12.
        """
        match self.name:
            case "scan":
                body = Function(self.parameters["jaxpr"])
                rows = sum(
                    _rank(outer) != _rank(inner) for outer, inner in zip(self.operands, body.arguments, strict=True)
                )
                stacked = sum(
                    _rank(outer) != _rank(inner) for outer, inner in zip(self.results, body.results, strict=True)
                )
                carried = len(self.results) - stacked
                return Scan(body, len(self.operands) - rows - carried, carried, self.parameters["length"])
            case "while":
                condition, body = Function(self.parameters["cond_jaxpr"]), Function(self.parameters["body_jaxpr"])
                carried = len(self.results)
                return While(condition, body, len(condition.arguments) - carried, len(body.arguments) - carried)
            case "cond":
                return Cond(tuple(map(Function, self.parameters["branches"])))
        match list(self.functions):
            case [body] if len(body.arguments) == len(self.operands) and len(body.results) == len(self.results):
                return Call(body)
        return None


@dataclass(frozen=True, eq=False)
class Function:
    """A traced function: a jaxpr, open or closed, as `jax.make_jaxpr` gives it.

    Up to JAX 0.11 a closed jaxpr holds an open one as `jaxpr`; from 0.12 on both are one class.
    """

    closed: Any

    @property
    def _jaxpr(self) -> Any:
        return getattr(self.closed, "jaxpr", self.closed)

    @property
    def arguments(self) -> Sequence[Any]:
        """The variables that stand for its arguments."""
        return self._jaxpr.invars

    @property
    def operations(self) -> Iterator[Operation]:
        """What it does, in order."""
        for equation in self._jaxpr.eqns:
            yield _operation(equation, equation.invars)

    @property
    def results(self) -> Sequence[Any]:
        """What it gives: each a `Number` or a variable."""
        return [_operand(atom) for atom in self._jaxpr.outvars]

    def __call__(self, *arguments: Any) -> list[Any]:
        """Compute the results, if the jaxpr is closed. If `jaxpr_as_fun` goes, importing Limpet fails."""
        return jaxpr_as_fun(self.closed)(*arguments)


class Scan(NamedTuple):
    """A scan: its operands are constants, then what is carried, then rows; its results what is carried, then rows."""

    body: Function
    constants: int
    carried: int
    length: int


class While(NamedTuple):
    """A loop: its operands are constants of the condition, constants of the body, then what is carried."""

    condition: Function
    body: Function
    condition_constants: int
    body_constants: int


class Cond(NamedTuple):
    """A condition: its operands are the number of the branch, then what every branch takes."""

    branches: tuple[Function, ...]


class Call(NamedTuple):
    """A function that takes the operands as they are and gives the results as they are."""

    body: Function


def size_of(variable: Any) -> int:
    """How many bytes the value of a variable takes; 0 where it is no array.

    If JAX renames a variable's `aval`, every curve fails with an AttributeError.
    """
    kind = variable.aval
    return getattr(kind, "size", 0) * getattr(getattr(kind, "dtype", None), "itemsize", 0)


def _rows(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    """How many arrays a scan goes along: outside of its body they have one axis more."""
    return sum(_rank(outer) != _rank(inner) for outer, inner in zip(outside, inside, strict=True))


def _rank(operand: Any) -> int:
    return jnp.ndim(operand.value) if isinstance(operand, Number) else len(getattr(operand.aval, "shape", ()))


def _operation(equation: Any, operands: Sequence[Any]) -> Operation:
    return Operation(
        equation.primitive.name, equation.params, [_operand(atom) for atom in operands], list(equation.outvars)
    )


def _operand(atom: Any) -> Any:
    held = getattr(atom, "val", None) if isinstance(atom, Tracer) else atom
    return Number(held.val) if isinstance(held, Literal) else atom


# ---- Values that are being traced. If JAX renames a tracer's `parent` or `val`, or an equation's `in_tracers`, a
# ---- derivative that is zero by computation counts as one that is not, and the loop audit passes draws without effect.


@dataclass(frozen=True, eq=False)
class Origin:
    """The operation that a traced value is a result of.

    Attributes:
        equation: JAX's own record of it, the same object for all of its results. It may be referred to weakly.
        value: the traced value.
    """

    equation: Any
    value: Any

    @property
    def operation(self) -> Operation:
        """The operation, whose operands are traced values."""
        return _operation(self.equation, self.equation.in_tracers)

    @property
    def place(self) -> int | None:
        """Which of the operation's results the value is, counted from 0; None if JAX does not say."""
        places = (place for place, variable in enumerate(self.equation.outvars) if variable is self.value.val)
        return next(places, None)


def origin_of(value: Any) -> Origin | None:
    """The operation that a traced value is a result of; None for an argument, or where JAX does not say."""
    equation = getattr(value, "parent", None)
    known = hasattr(equation, "in_tracers") and hasattr(equation, "outvars") and hasattr(value, "val")
    return Origin(equation, value) if known else None


def number_of(value: Any) -> Any:
    """A `Number` for a traced value that stands for one, any other value as it is."""
    return _operand(value)


# ---- Primitives. If JAX changes how their rules are registered, importing `limpet.flow` fails.


def identity_primitive(
    name: str,
    trace: Callable[..., None],
    lower: Callable[..., None],
    differentiate: Callable[..., tuple[Any, Any]],
    transpose: Callable[..., None],
) -> Primitive:
    """A primitive that gives its operand back, leaves nothing in the compiled program, and tells what JAX does with it.

    All functions take the parameters of the primitive by keyword. That a value which nothing uses is dropped before it
    is lowered, so that `lower` is not called for it, is not documented by JAX.

    Args:
        name: the name of the primitive.
        trace: a function called when the primitive enters a traced function.
        lower: a function called when the primitive is compiled.
        differentiate: a function of the value and its tangent (None if JAX knows that it is zero) that gives both
            results, called when the primitive is differentiated.
        transpose: a function of the cotangent, called when a derivative that is not known to be zero comes back.
    """
    primitive = Primitive(name)

    def abstract(value: Any, **parameters: Any) -> Any:
        trace(**parameters)
        return value

    def lowered(context: Any, value: Any, **parameters: Any) -> list[Any]:
        lower(**parameters)
        return [value]

    def derivative(primals: Any, tangents: Any, **parameters: Any) -> tuple[Any, Any]:
        (value,), (tangent,) = primals, tangents
        value, rate = differentiate(value, None if type(tangent) is ad.Zero else tangent, **parameters)
        return value, tangent if rate is None else rate

    def transposed(cotangent: Any, value: Any, **parameters: Any) -> list[Any]:
        if type(cotangent) is not ad.Zero:
            transpose(cotangent, **parameters)
        return [cotangent]

    primitive.def_impl(lambda value, **_: value)
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, lowered)
    batching.defvectorized(primitive)
    ad.primitive_jvps[primitive] = derivative
    ad.primitive_transposes[primitive] = transposed
    return primitive


# ---- Devices and settings.


def varying(value: Any) -> frozenset[str]:
    """The manual axes of a `shard_map` along which a value may differ from device to device.

    JAX calls them `vma` of a type, and lately `manual_axis_type.varying`. Under a third name none would be found: every
    draw within a `shard_map` would warn, and leaves that are divided would not be refused.
    """
    kind = jax.typeof(value)
    kind = getattr(kind, "manual_axis_type", kind)
    return frozenset(getattr(kind, "varying", getattr(kind, "vma", ())))


def is_weak(value: Any) -> bool:
    """Whether a value takes the type of what it meets, as Python's numbers do.

    If JAX renames an array's `weak_type`, a program that was compiled for one serves the other, too.
    """
    return getattr(value, "weak_type", False)


def settings() -> Sequence[Any]:
    """The settings of JAX that change what a traced function computes; without one of them, an AttributeError."""
    names = "enable_x64 default_matmul_precision debug_nans debug_infs numpy_dtype_promotion default_device".split()
    return [getattr(jax.config, f"jax_{name}") for name in names]


def threefry_partitionable() -> bool:
    """Whether the generator "threefry2x32" draws the same words however an array is divided, which chips rely on.

    JAX means to take the setting away and to leave it on; then this is True.
    """
    return getattr(jax.config, "jax_threefry_partitionable", True)


def device_memory() -> int | None:
    """The bytes of memory of the first device; None where JAX does not say, as on a CPU.

    Without `memory_stats`, tiles of chips are as small on an accelerator as on a CPU: only slower.
    """
    statistics = getattr(jax.local_devices()[0], "memory_stats", lambda: None)()
    return (statistics or {}).get("bytes_limit")
