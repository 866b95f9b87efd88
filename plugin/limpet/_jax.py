"""All that Limpet uses of JAX beyond its documented public API, in one place.

No other file imports from `jax.core`, `jax.extend`, `jax.interpreters` or `jax._src`, or reads the fields of jaxprs,
their equations and tracers; `tests/test_package.py` holds that. Each entry says what breaks when JAX changes it.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from types import FrameType
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer, eval_jaxpr
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Primitive
from jax.extend.random import define_prng_impl as define_prng_impl  # without it there is no generator "fast"
from jax.interpreters import ad, batching, mlir, partial_eval


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
        operands: what it takes: each a `Number`, or a variable, which is hashable and compared by identity.
        results: the variables that it gives.
    """

    name: str
    parameters: Mapping[str, Any]
    operands: Sequence[Any]
    results: Sequence[Any]
    equation: Any

    def bind(self, values: Sequence[Any]) -> list[Any]:
        """Its results for other operands.

        It reads `primitive`, `params` and `ctx` of an equation; `get_bind_params` has to give parameters alone.
        """
        primitive = self.equation.primitive
        with self.equation.ctx.manager:
            results = primitive.bind(*values, **primitive.get_bind_params(self.equation.params))
        return list(results) if primitive.multiple_results else [results]

    @property
    def in_gradient(self) -> bool:
        """Whether it is one of those that JAX makes of a function when that is differentiated within the traced one.

        JAX writes it into the stack of names that an equation keeps for profilers. Under other words, products of a
        gradient that is taken within `limpet.products` would become analog ones, too.
        """
        return "jvp(" in str(self.equation.source_info.name_stack)

    def calling(self, function: Callable[..., Any], operands: Sequence[Any]) -> Any:
        """Call another function as the operation calls its own: at once, rematerialised, or on shards.

        Where the operation has one array, the function may have several of its shape, as a pytree. It reads parameters
        of checkpoint and of shard_map: another name there is a KeyError.
        """
        match self.name:
            case "checkpoint" | "remat" | "remat2":
                named = {key: self.parameters[key] for key in ("prevent_cse", "policy")}
                return jax.checkpoint(function, **named)(*operands)
            case "shard_map":
                named = {key: self.parameters[key] for key in ("mesh", "in_specs", "out_specs", "check_vma")}
                manual = self.parameters["newly_manual_axes"]
                return jax.shard_map(function, axis_names=set(manual), **named)(*operands)
        return function(*operands)

    def dot(self, left: Any, right: Any, summed: Any, stacked: Any, dtype: Any = None) -> jax.Array:
        """A product of two operands, as precise as this one, which is a product; see `Product`.

        It reads parameters of dot_general and conv_general_dilated: another name there is a KeyError.
        """
        precision, dtype = self.parameters["precision"], dtype or self.parameters["preferred_element_type"]
        return jax.lax.dot_general(left, right, (summed, stacked), precision, dtype)

    def patches(self, image: Any) -> jax.Array:
        """What each output of a convolution sees of an image, as (image, *places of the outputs, *window, channel).

        It reads parameters of conv_general_dilated: another name there is a KeyError or an AttributeError.
        """
        given, numbers = self.parameters, self.parameters["dimension_numbers"]
        kernel, result = array_of(self.operands[1])[0], array_of(self.results[0])[0]
        window = [kernel[axis] for axis in numbers.rhs_spec[2:]]
        places = [result[axis] for axis in numbers.out_spec[2:]]
        strides = given["window_strides"]
        holes = [(*edges, apart - 1) for edges, apart in zip(given["padding"], given["lhs_dilation"], strict=True)]
        images, channels, *axes = numbers.lhs_spec
        image = jnp.transpose(image, (images, *axes, channels))
        image = jax.lax.pad(image, jnp.zeros((), image.dtype), [(0, 0, 0), *holes, (0, 0, 0)])
        seen = []
        # XLA for CPUs takes some twenty times as long for `conv_general_dilated_patches`, which is a convolution.
        for offset in np.ndindex(*window):
            first = [place * apart for place, apart in zip(offset, given["rhs_dilation"], strict=True)]
            last = [at + (count - 1) * step + 1 for at, count, step in zip(first, places, strides, strict=True)]
            ends = (image.shape[0], *last, image.shape[-1])
            seen.append(jax.lax.slice(image, (0, *first, 0), ends, (1, *strides, 1)))
        return jnp.stack(seen, -2).reshape(image.shape[0], *places, *window, image.shape[-1])

    def is_turned_round(self, place: int) -> bool:
        """Whether it is a convolution whose kernel is its image, if weights are at that place, or that groups images:
        what JAX makes of one in gradients."""
        if self.name != "conv_general_dilated":
            return False
        return place == 0 or self.parameters["batch_group_count"] > 1

    @property
    def image_axes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of a convolution: which axes of its kernel count outputs, channels and the window, and which axes of its
        result count images, outputs and places."""
        numbers = self.parameters["dimension_numbers"]
        return numbers.rhs_spec, numbers.out_spec

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
                carried = len(self.results) - _rows(self.results, body.results)
                constants = len(self.operands) - _rows(self.operands, body.arguments) - carried
                how = {key: self.parameters[key] for key in ("reverse", "unroll")}
                return Scan(body, constants, carried, self.parameters["length"], how)
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

    @property
    def placed(self) -> tuple[int | None, ...] | None:
        """For each axis of the results, which axis of the first operand it is, or a part of that; None for a new one.

        None where the operation does more than to pick out, move, repeat or convert values. Of a reshape it is the
        order in which it reads the axes of the operand, before it divides them anew. It reads parameters of transpose,
        squeeze, reshape, broadcast_in_dim, unstack and gather: another name there is a KeyError or an AttributeError.
        """
        rank = _rank(self.operands[0]) if self.operands else 0
        match self.name:
            case name if name in _IN_PLACE:
                return tuple(range(rank))
            case "transpose":
                return tuple(self.parameters["permutation"])
            case "reshape":
                return tuple(self.parameters["dimensions"] or range(rank))
            case "squeeze":
                return tuple(axis for axis in range(rank) if axis not in self.parameters["dimensions"])
            case "broadcast_in_dim":
                place_of = {place: axis for axis, place in enumerate(self.parameters["broadcast_dimensions"])}
                return tuple(place_of.get(place) for place in range(_rank(self.results[0])))
            case "unstack":
                return tuple(axis for axis in range(rank) if axis != self.parameters["axis"])
            case "gather":
                numbers = self.parameters["dimension_numbers"]
                picked = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
                kept = [axis for axis in range(rank) if axis not in picked]
                place_of = dict(zip(numbers.offset_dims, kept, strict=True))
                by_index = [place for place in range(_rank(self.results[0])) if place not in numbers.offset_dims]
                for axis, index in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True):
                    place_of[by_index[index]] = axis
                return tuple(place_of.get(place) for place in range(_rank(self.results[0])))
        return None

    @property
    def joined(self) -> int | None:
        """The axis of the result along which the operation joins its operands; None where it does something else.

        It reads parameters of concatenate and of stack, whose axis is a new one: another name there is a KeyError.
        """
        match self.name:
            case "concatenate":
                return self.parameters["dimension"]
            case "stack":
                return self.parameters["axis"]
        return None

    @property
    def repeated(self) -> tuple[int, ...] | None:
        """How often the operation repeats its operand along each axis; None where it does something else.

        It reads a parameter of tile: another name there is a KeyError.
        """
        return tuple(self.parameters["reps"]) if self.name == "tile" else None

    @property
    def product(self) -> "Product | None":
        """The product that the operation computes; None where it computes none.

        It reads parameters of dot_general, ragged_dot_general and conv_general_dilated: another name there is a
        KeyError or an AttributeError. A new operation that multiplies matrices counts as one that is not known.
        """
        match self.name:
            case "dot_general":
                return Product(*self.parameters["dimension_numbers"])
            case "ragged_dot_general":
                numbers = self.parameters["ragged_dot_dimension_numbers"]
                (left, right), (left_batch, right_batch) = numbers.dot_dimension_numbers
                return Product((left, right), (left_batch, (*right_batch, *numbers.rhs_group_dimensions)))
            case "conv_general_dilated":
                numbers = self.parameters["dimension_numbers"]
                (_, *image), (outputs, *kernel) = numbers.lhs_spec, numbers.rhs_spec
                groups = self.parameters["feature_group_count"] * self.parameters["batch_group_count"]
                return Product((tuple(image), tuple(kernel)), ((), ()), groups, outputs)
        return None


_IN_PLACE = frozenset(
    "convert_element_type copy copy_p reduce_precision name optimization_barrier pvary pcast sharding_constraint "
    "mesh_cast reshard device_put slice dynamic_slice split pad rev limpet_probe limpet_product".split()
)
"""Operations that leave each axis where it is, though perhaps with fewer values along it."""


class Product(NamedTuple):
    """A product of two operands: a matrix product in any number of dimensions, or a convolution.

    Attributes:
        summed: the axes of either operand along which the product sums.
        stacked: those along which it goes in both operands alike, so that each step is a product of its own.
        groups: the number of blocks of the second operand's outputs that meet inputs of their own.
        grouped: the axis of the second operand that is divided into these blocks, the first block first.
    """

    summed: tuple[tuple[int, ...], tuple[int, ...]]
    stacked: tuple[tuple[int, ...], tuple[int, ...]]
    groups: int = 1
    grouped: int = 0


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
            operands = [_operand(atom) for atom in equation.invars]
            yield Operation(equation.primitive.name, equation.params, operands, equation.outvars, equation)

    @property
    def results(self) -> Sequence[Any]:
        """What it gives: each a `Number` or a variable."""
        return [_operand(atom) for atom in self._jaxpr.outvars]

    @property
    def argument_names(self) -> Sequence[str]:
        """The names of its arguments, as far as JAX knows them: it keeps them to show them."""
        names = getattr(getattr(self._jaxpr, "debug_info", None), "arg_names", None) or ()
        return [name or "" for name in names]

    @property
    def captured_variables(self) -> Sequence[Any]:
        """The variables that stand for the arrays that it captured."""
        return self._jaxpr.constvars

    @property
    def captured(self) -> Sequence[Any]:
        """The arrays that it captured, if the jaxpr is closed; open ones hold none."""
        return getattr(self.closed, "consts", ())

    def __call__(self, captured: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """The results, for the arrays that it captured or others. If `eval_jaxpr` goes, importing Limpet fails."""
        return eval_jaxpr(self._jaxpr, captured, *arguments)


class Scan(NamedTuple):
    """A scan: its operands are constants, then what is carried, then rows; its results what is carried, then rows."""

    body: Function
    constants: int
    carried: int
    length: int
    how: Mapping[str, Any]


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


def array_of(variable: Any) -> tuple[tuple[int, ...], Any]:
    """The shape and the dtype of a variable's value, or of a `Number`."""
    kind = jnp.asarray(variable.value) if isinstance(variable, Number) else variable.aval
    return getattr(kind, "shape", ()), getattr(kind, "dtype", None)


def _rows(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    """How many arrays a scan goes along: outside of its body they have one axis more."""
    return sum(_rank(outer) != _rank(inner) for outer, inner in zip(outside, inside, strict=True))


def _rank(operand: Any) -> int:
    return jnp.ndim(operand.value) if isinstance(operand, Number) else len(getattr(operand.aval, "shape", ()))


def _operand(atom: Any) -> Any:
    return Number(atom.val) if isinstance(atom, Literal) else atom


# ---- What a traced function computes, as a key under which its program is kept.


class Content(NamedTuple):
    """What a traced function computes, as something that two functions share where they compute the same.

    Attributes:
        digest: a hash of operations, shapes, parameters and nested constants, equal in every process.
        objects: the Python objects among the parameters, such as primitives and callbacks, which Python compares.
    """

    digest: str
    objects: tuple[Any, ...]


def content_of(function: Function) -> Content:
    """What a traced function computes, apart from the arrays that it captured itself, which are operands.

    It reads `eqns`, `invars`, `constvars`, `outvars`, `consts`, `primitive`, `params`, `ctx` and `aval` of jaxprs. If
    JAX renames one, this fails; a field added to them that changes what is computed would have to be added here. Names
    of variables, places in source files and what derivatives alone look at are left out: when a program is compiled,
    derivatives have been taken.
    """
    reader = _ContentReader()
    reader.program(function.closed, captured=False)
    return Content(hashlib.blake2b("\n".join(reader.words).encode(), digest_size=16).hexdigest(), tuple(reader.objects))


def with_captured_arrays(function: Function) -> Function:
    """The same traced function, which holds the arrays that functions compiled within it captured as its own.

    Without it they would be constants of the program. It relies on the primitive of `jax.jit` being called "jit" or
    "pjit" and having a parameter `jaxpr`; if JAX renames them, such arrays become constants again.
    """
    jaxpr = function.closed
    if not any(map(_captures, jaxpr.jaxpr.eqns)):
        return function
    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype, weak_type=v.aval.weak_type) for v in jaxpr.jaxpr.invars]
    return Function(jax.make_jaxpr(lambda *values: _inlined(jaxpr, values))(*shapes))


def _captures(equation: Any) -> bool:
    """Whether an equation calls a compiled function that captured arrays, or one that calls such a function."""
    if equation.primitive.name not in ("jit", "pjit"):
        return False
    inner = equation.params["jaxpr"]
    return bool(inner.consts) or any(map(_captures, inner.jaxpr.eqns))


def _inlined(jaxpr: Any, values: Sequence[Any]) -> list[Any]:
    known = dict(zip(jaxpr.jaxpr.constvars, jaxpr.consts, strict=True)) | dict(
        zip(jaxpr.jaxpr.invars, values, strict=True)
    )
    for equation in jaxpr.jaxpr.eqns:
        operands = [atom.val if isinstance(atom, Literal) else known[atom] for atom in equation.invars]
        if _captures(equation):
            results = _inlined(equation.params["jaxpr"], operands)
        else:
            with equation.ctx.manager:
                results = equation.primitive.bind(*operands, **equation.primitive.get_bind_params(equation.params))
            results = results if equation.primitive.multiple_results else [results]
        known |= zip(equation.outvars, results, strict=True)
    return [atom.val if isinstance(atom, Literal) else known[atom] for atom in jaxpr.jaxpr.outvars]


_LEFT_OUT = {
    "custom_jvp_call": {"jvp_jaxpr_fun"},
    "custom_vjp_call": {"fwd_jaxpr_thunk", "fwd", "bwd", "out_trees"},
    "limpet_probe": {"notes"},
}
"""By primitive: parameters that derivatives alone look at, or that a compiled program does not, made at each trace."""
_SHAPED = ("shape", "dtype", "weak_type", "sharding", "vma", "memory_space")


class _ContentReader:
    """Writes down a traced function in words, variables by their number; see `content_of`."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.objects: list[Any] = []
        self._known: dict[int, str] = {}
        """The words for objects that were met before, by their place in memory."""
        self._kept: list[Any] = []
        """Objects that have to stay where they are meanwhile, so that their places in memory are no others'."""

    def program(self, jaxpr: Any, captured: bool = True) -> None:
        words, numbers = self.words, dict[Any, int]()
        inner = Function(jaxpr)._jaxpr

        def new(variables: Sequence[Any]) -> None:
            for variable in variables:
                numbers[variable] = len(numbers)

        new(inner.constvars)
        new(inner.invars)
        words += ["program", *(self._shape(variable.aval) for variable in numbers)]
        if captured:
            words += map(self._array, getattr(jaxpr, "consts", ()))  # open ones have none
        for equation in inner.eqns:
            name = equation.primitive.name
            words += [self._object(equation.primitive), self._object(equation.ctx)]
            words += [self._atom(atom, numbers) for atom in equation.invars]
            left_out = _LEFT_OUT.get(name, ())
            for parameter, value in equation.params.items():
                if parameter not in left_out:
                    words.append(parameter)
                    # `custom_vmap` puts its rule into another object at each call.
                    self._value(getattr(value, "__wrapped__", value) if parameter == "rule" else value)
            new(equation.outvars)
        words += ["gives", *(self._atom(atom, numbers) for atom in inner.outvars), "end"]

    def _atom(self, atom: Any, numbers: Mapping[Any, int]) -> str:
        if isinstance(atom, Literal):
            return f"{self._array(atom.val)} {self._shape(atom.aval)}"
        return str(numbers[atom])

    def _shape(self, aval: Any) -> str:
        if (known := self._known.get(id(aval))) is None:
            self._kept.append(aval)
            known = " ".join([type(aval).__name__, *(str(getattr(aval, field, None)) for field in _SHAPED)])
            if jnp.issubdtype(getattr(aval, "dtype", bool), jax.dtypes.extended):
                known += self._object(aval.dtype)
            self._known[id(aval)] = known
        return known

    def _value(self, value: Any) -> None:
        if isinstance(value, Jaxpr | ClosedJaxpr):
            self.program(value)
        elif value is None or isinstance(value, bool | int | float | complex | str | bytes):
            self.words.append(f"{type(value).__name__} {value!r}")
        elif isinstance(value, np.ndarray | np.generic | jax.Array):
            self.words.append(self._array(value))
        elif isinstance(value, tuple | list):
            self.words += [type(value).__name__, str(len(value))]
            for part in value:
                self._value(part)
        elif isinstance(value, dict):
            self.words += ["dict", str(len(value))]
            for key, part in value.items():
                self._value(key)
                self._value(part)
        else:
            self.words.append(self._object(value))

    def _array(self, value: Any) -> str:
        if jnp.issubdtype(getattr(value, "dtype", bool), jax.dtypes.prng_key):
            return f"{self._object(value.dtype)} {self._array(jax.random.key_data(value))}"
        array = np.asarray(value)
        data = array.tobytes()
        text = data.hex() if len(data) <= 64 else hashlib.blake2b(data, digest_size=16).hexdigest()
        return f"{type(value).__name__ if array.ndim == 0 else ''} {array.dtype} {array.shape} {text}"

    def _object(self, value: Any) -> str:
        """The words for an object that Python compares: its kind, what it says of itself, and its number."""
        if (known := self._known.get(id(value))) is None:
            says = repr(value)
            if " at 0x" in says or len(says) > 1000:
                says = getattr(value, "__qualname__", "")
            known = f"{type(value).__module__}.{type(value).__qualname__} {says} {len(self.objects)}"
            self._known[id(value)] = known
            self._kept.append(value)
            self.objects.append(_compared(value))
        return known


@dataclass(frozen=True)
class _Same:
    """An object that cannot be hashed: equal to itself alone."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _compared(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return value


# ---- Programs of the user's, as JAX traces and compiles them.

_TRACED = "/jax/core/compile/jaxpr_trace_duration"
_LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"


def on_programs(listener: Callable[[Function, bool], None]) -> None:
    """Have every program that JAX traces or compiles from now on told to a listener.

    JAX reports to `jax.monitoring` that it has traced or lowered something, but not what. That is found among the local
    variables of the function that reports it, called `jaxpr` or `closed_jaxpr`. If JAX renames those or the two events,
    nothing is told, and the audit of a loop warns that it could not see what was compiled.

    Args:
        listener: `listener(function, whole)`. A function that `jax.jit` traced as the outermost one is told as a whole,
            before it is compiled; what the listener raises then comes out of the user's call. What is compiled is told
            with False: it may be half of a function, as where `jax.grad` is applied to a compiled one.
    """

    def heard(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event in (_TRACED, _LOWERED) and (jaxpr := _jaxpr_of(sys._getframe(1))) is not None:
            listener(Function(jaxpr), event == _TRACED)

    jax.monitoring.register_event_duration_secs_listener(heard)


def _jaxpr_of(frame: FrameType | None) -> Any:
    for _ in range(4):
        if frame is None:
            break
        for name in ("closed_jaxpr", "jaxpr"):
            if isinstance(value := frame.f_locals.get(name), ClosedJaxpr | Jaxpr):
                return value
        frame = frame.f_back
    return None


# ---- Primitives. If JAX changes how their rules are registered, importing `limpet.flow` fails.


def identity_primitive(
    name: str,
    trace: Callable[..., None],
    differentiate: Callable[..., Sequence[Any]],
    transpose: Callable[..., Sequence[Any]],
) -> Primitive:
    """A primitive that gives its operands back, and tells what JAX does with it; nothing of it is left when compiled.

    It takes parameters by keyword; `paths`, a tuple of texts, has one for each operand.

    Args:
        name: the name of the primitive.
        trace: a function of the parameters, called when the primitive enters a traced function.
        differentiate: a function from tangents to tangents, called when the primitive is differentiated. It is given
            those that JAX does not know to be zero, and the parameters, whose paths are those of these operands.
        transpose: a function from cotangents to cotangents, called when derivatives come back; it is given as much.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True

    def abstract(*values: Any, **parameters: Any) -> Sequence[Any]:
        trace(**parameters)
        return values

    def through(change: Callable[..., Sequence[Any]], slopes: Sequence[Any], paths: Sequence[str], **rest: Any) -> Any:
        known = [place for place, slope in enumerate(slopes) if type(slope) is not ad.Zero]
        changed = change([slopes[place] for place in known], paths=tuple(paths[place] for place in known), **rest)
        found = dict(zip(known, changed, strict=True))
        return [found.get(place, slope) for place, slope in enumerate(slopes)]

    def derivative(primals: Any, tangents: Any, **parameters: Any) -> tuple[Any, Any]:
        return primitive.bind(*primals, **parameters), through(differentiate, tangents, **parameters)

    def transposed(cotangents: Any, *values: Any, **parameters: Any) -> Any:
        return through(transpose, cotangents, **parameters)

    def pruned(used: list[bool], *rest: Any) -> tuple[list[bool], Any]:
        equation = rest[-1]  # JAX 0.12 says before it which operands are alive
        if not any(used):
            return used, None
        paths = tuple(compress(equation.params["paths"], used))
        invars, outvars = list(compress(equation.invars, used)), list(compress(equation.outvars, used))
        return used, equation.replace(invars=invars, outvars=outvars, params={**equation.params, "paths": paths})

    primitive.def_impl(lambda *values, **_: values)
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, lambda context, *values, **_: values)
    batching.primitive_batchers[primitive] = lambda values, axes, **kept: (primitive.bind(*values, **kept), axes)
    ad.primitive_jvps[primitive] = derivative
    ad.primitive_transposes[primitive] = transposed
    partial_eval.dce_rules[primitive] = pruned  # without it, what only a probe uses is lowered
    return primitive


def marking_primitive(name: str, refuse: Callable[..., Exception]) -> Primitive:
    """A primitive that gives its first operand, and keeps others beside it for whoever reads the traced function.

    It cannot be computed or compiled. Its derivative is the first operand's.

    Args:
        name: the name of the primitive.
        refuse: a function from its parameters to the error that is raised where it would be computed or compiled.
    """
    primitive = Primitive(name)

    def refused(*_: Any, **parameters: Any) -> Any:
        raise refuse(**parameters)

    def derivative(primals: Any, tangents: Any, **parameters: Any) -> tuple[Any, Any]:
        return primitive.bind(*primals, **parameters), tangents[0]

    def batched(values: Any, axes: Any, **parameters: Any) -> tuple[Any, Any]:
        (size,) = {value.shape[axis] for value, axis in zip(values, axes, strict=True) if axis is not None}
        moved = [
            jnp.broadcast_to(value, (size, *value.shape)) if axis is None else jnp.moveaxis(value, axis, 0)
            for value, axis in zip(values, axes, strict=True)
        ]
        return primitive.bind(*moved, **parameters), 0

    primitive.def_impl(refused)
    primitive.def_abstract_eval(lambda first, *_, **__: first)
    mlir.register_lowering(primitive, refused)
    batching.primitive_batchers[primitive] = batched
    ad.primitive_jvps[primitive] = derivative
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


def is_known_zero(tangent: Any) -> bool:
    """Whether a tangent that `custom_jvp(..., symbolic_zeros=True)` hands over is zero before any number is known.

    If JAX moves `jax.custom_derivatives.SymbolicZero`, importing Limpet fails.
    """
    return type(tangent) is SymbolicZero
