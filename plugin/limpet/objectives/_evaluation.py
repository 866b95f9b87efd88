"""Evaluating a loss on several chips, on copies of a network, with and without what it writes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._checked import number, whole
from .._errors import LimpetError
from .._jax import is_traced
from ..leaves._adapters import adapter_of

Loss = Callable[..., Any]
"""`loss_fn(tree, *args)`: the loss, a scalar; or a tuple of it and the outputs that it was computed from, or more."""


def over_draws(
    evaluate: Callable[..., Any], tree_of: Callable[[Any, jax.Array], Any], params: Any, *mapped: Any
) -> Any:
    """What a function gives on each of several chips, stacked along a leading axis.

    Where a forward pass writes state in a network (batch statistics and counters of a Flax nnx module), each chip has a
    copy of it; what they write is averaged (of counts, the first chip's is taken) and written in the network itself.

    Args:
        evaluate: the function, `evaluate(tree, *args)`, giving a pytree of arrays.
        tree_of: a function from parameters and the number of a chip to the tree on that chip.
        params: the nominal parameters, or a module.
        *mapped: the numbers of the chips, shape (chips,), and further arguments with such a leading axis.
    """
    adapter = adapter_of(params)
    if not adapter.stateful:
        return jax.vmap(lambda draw, *args: evaluate(tree_of(params, draw), *args))(*mapped)
    copy = copies_of(params)

    def on_chip(draw: jax.Array, *args: Any) -> tuple[Any, dict[str, Any]]:
        tree = tree_of(copy({}), draw)
        result, paths = adapter.written_by(tree, lambda tree: evaluate(tree, *args))
        leaves = adapter.flattened(tree)[0]
        return result, {path: leaves[path] for path in paths}

    results, written = jax.vmap(on_chip)(*mapped)
    adapter.write(params, {path: _of_all(values) for path, values in written.items()})
    return results


def _of_all(values: jax.Array) -> jax.Array:
    return values.mean(axis=0) if jnp.issubdtype(values.dtype, jnp.floating) else values[0]


def copies_of(params: Any) -> Callable[[Mapping[str, jax.Array]], Any]:
    """A function that copies a network with some values changed, by path; what a copy writes is its own."""
    leaves, structure = adapter_of(params).flattened(params)
    return lambda values: structure.unflatten([values.get(path, leaf) for path, leaf in leaves.items()])


def loss_of(result: Any) -> jax.Array:
    """The loss, of what a loss function gave.

    Raises:
        LimpetError: it is no scalar.
    """
    loss = result[0] if isinstance(result, tuple) else result
    if jnp.ndim(loss) or not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
        raise LimpetError(
            f"loss_fn gave {jnp.result_type(loss)} of shape {jnp.shape(loss)}: give a scalar, the mean over examples, "
            f"or a tuple (loss, outputs)"
        )
    return jnp.asarray(loss)


def loss_and_outputs(result: Any, objective: str) -> tuple[jax.Array, jax.Array]:
    """Loss and outputs, of what a loss function gave.

    Raises:
        LimpetError: it gave no outputs.
    """
    if not isinstance(result, tuple) or len(result) < 2 or not isinstance(result[1], jax.Array):
        raise LimpetError(
            f"{objective} compares outputs of the network: let loss_fn give a tuple (loss, outputs), with logits of "
            f"shape (batch, classes); it gave {type(result).__name__}"
        )
    return loss_of(result), result[1]


def checked_factor(value: ArrayLike, name: str, most: float = math.inf) -> ArrayLike:
    """A factor, radius or weight as it was given; one that is traced is taken on trust.

    Raises:
        StrengthError: it is known, and no finite number from 0 to `most`.
    """
    if not is_traced(value):
        number(name, value, 0, most)
    return value


def checked_draws(draws: Any, fewest: int = 1, name: str = "draws") -> int:
    """A number of chips.

    Raises:
        LimpetError: it is no whole number, or too small.
    """
    return whole(name, draws, fewest)
