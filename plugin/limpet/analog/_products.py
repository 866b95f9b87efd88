"""`limpet.products`: a function with the analog products of the leaves that it draws."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any

import jax

from .._errors import LimpetError, warn_user
from .._jax import Function, array_of, is_tracing
from ..flow._probe import computed_at_once
from ..leaves._adapters import adapter_of
from ._interpreter import Interpreter, Observer
from ._mark import MARK


def products(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which computes the products of hardware's leaves as their arrays do.

    The network stays as it is: within the function, each matrix product or convolution of a leaf that was drawn of
    hardware with a `limpet.Product` is found and computed with converters, noise and tiles, wherever it stands (in
    scans, loops, conditions, rematerialised and mapped functions). All else is computed as before, to the last bit.
    Differentiate, map and compile it in place of the function.

    Draws have to be within it: `limpet.products(lambda p: loss_fn(callback.inject(p, step), batch))`. Where Limpet
    calls a function itself (`callback.loss`, `limpet.with_mismatch`, objectives, curves, calibration), it does this by
    itself. Drawn leaves that are compiled outside of it are refused.

    A function in which no leaf with a product is drawn is computed as it is, with a warning.

    What is new at each product is new for each example, also where `jax.vmap` maps over examples around it.

    Args:
        fn: any function of arrays, pytrees of arrays and Flax nnx modules, whose results JAX can trace.

    Returns:
        A function of the same arguments.

    Raises:
        LimpetError: `fn` is no function; or, when called: a product of a leaf cannot be told, as where the leaf is
            computed with before it meets its inputs, or stands in a function with a derivative of its own.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> adc = limpet.Converter(levels=3, bound=1.0)
        >>> hardware = limpet.Hardware(
        ...     w=limpet.Part("w", limpet.Gaussian(0.0), product=limpet.Product(outputs=adc))
        ... )
        >>> params, x = {"w": jnp.ones((2, 1))}, jnp.array([[0.1, 0.2], [0.3, 0.4]])
        >>> mismatch = hardware.on(params)
        >>> def network(params, key):
        ...     return x @ mismatch(key, params)["w"]
        >>> products(network)(params, jax.random.key(0)).ravel().tolist()
        [0.0, 1.0]
    """
    if not callable(fn):
        raise LimpetError(f"fn = {fn!r}: give a function, such as limpet.products(lambda p: loss_fn(p, batch))")
    return computing(fn, told=True)


def computing(fn: Callable[..., Any], observer: Observer | None = None, told: bool = False) -> Callable[..., Any]:
    """A function with analog products, see `products`.

    Args:
        fn: the function.
        observer: is told what each product saw and gave; None for nobody.
        told: whether a warning says where there is no leaf with a product.
    """

    @wraps(fn, updated=())
    def computed(*args: Any, **named: Any) -> Any:
        stateful = {place: arg for place, arg in [*enumerate(args), *named.items()] if adapter_of(arg).stateful}
        flat = {place: adapter_of(arg).flattened(arg) for place, arg in stateful.items()}

        def alone() -> tuple[Any, dict[Any, dict[str, Any]]]:
            # Modules are copied, because JAX lets nobody write in what belongs to another trace.
            copies = {place: structure.unflatten(leaves.values()) for place, (leaves, structure) in flat.items()}
            written: dict[Any, dict[str, Any]] = {}

            def watched(places: list[Any]) -> Any:
                if not places:
                    held = {**dict(enumerate(args)), **named, **copies}
                    return fn(*(held[place] for place in range(len(args))), **{name: held[name] for name in named})
                first, *rest = places
                adapter = adapter_of(copies[first])
                result, paths = adapter.written_by(copies[first], lambda _: watched(rest))
                leaves = adapter.flattened(copies[first])[0]
                written[first] = {path: leaves[path] for path in paths}
                return result

            return watched(list(copies)), written

        with nullcontext() if is_tracing() else computed_at_once():
            jaxpr, shape = jax.make_jaxpr(alone, return_shape=True)()
        function = Function(jaxpr)
        if told and not _has_marks(function):
            warn_user(
                "limpet.products: no leaf with a product is drawn in this function, so that its products are exact. "
                "Draw within it, limpet.products(lambda p: loss_fn(callback.inject(p, step), batch)), of hardware with "
                "products; what callback.loss, limpet.with_mismatch and limpet.on_chip give needs no wrapper"
            )
        results = _results(function, function.captured, (), observer)
        result, written = jax.tree.unflatten(jax.tree.structure(shape), results)
        for place, values in written.items():
            adapter_of(stateful[place]).write(stateful[place], values)
        return result

    return computed


def with_analog_products(function: Function) -> Function:
    """A traced function with analog products in the place of those of marked leaves."""
    if not _has_marks(function):
        return function
    shapes = [jax.ShapeDtypeStruct(*array_of(variable)) for variable in function.arguments]
    return Function(jax.make_jaxpr(lambda *values: _results(function, function.captured, values))(*shapes))


def _results(
    function: Function, captured: Sequence[Any], arguments: Sequence[Any], observer: Observer | None = None
) -> list[Any]:
    if not _has_marks(function):
        return function(captured, arguments)
    return Interpreter(observer).results_of(function, captured, arguments)


def _has_marks(function: Function) -> bool:
    return any(operation.name == MARK or any(map(_has_marks, operation.functions)) for operation in function.operations)
