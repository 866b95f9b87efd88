"""Evaluating a loss on several chips, on copies of a network, with and without what it writes."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .._checked import whole
from .._errors import LimpetError
from .._jax import is_known_zero
from ..leaves._adapters import adapter_of
from ._step_chips import StepChips

Loss = Callable[..., Any]
"""`loss_fn(tree, *args)`: the loss, a scalar; or a tuple of it and the outputs that it was computed from, or more."""


def over_draws(
    chips: StepChips, evaluate: Callable[..., Any], tree_of: Callable[[Any, jax.Array], Any], params: Any, *mapped: Any
) -> Any:
    """What a function gives on each of several chips, stacked along a leading axis.

    Where a forward pass writes state in a network (batch statistics and counters of a Flax nnx module), each chip has a
    copy of it; what they write is averaged (of counts, the first chip's is taken) and written in the network itself.

    Args:
        chips: what draws them.
        evaluate: the function, `evaluate(tree, *args)`, giving a pytree of arrays.
        tree_of: a function from parameters and the number of a chip to the tree on that chip.
        params: the nominal parameters, or a module.
        *mapped: the numbers of the chips, shape (chips,), and further arguments with such a leading axis.
    """
    adapter = adapter_of(params)
    if not adapter.stateful:
        return jax.vmap(chips.computing(lambda draw, *args: evaluate(tree_of(params, draw), *args)))(*mapped)
    copy = copies_of(params)

    def on_chip(draw: jax.Array, *args: Any) -> tuple[Any, dict[str, Any]]:
        tree = tree_of(copy({}), draw)
        result, paths = adapter.written_by(tree, lambda tree: evaluate(tree, *args))
        leaves = adapter.flattened(tree)[0]
        return result, {path: leaves[path] for path in paths}

    results, written = jax.vmap(chips.computing(on_chip))(*mapped)
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


def loss_and_outputs(result: Any, objective: str, logits: bool = True) -> tuple[jax.Array, jax.Array]:
    """Loss and outputs, of what a loss function gave.

    Args:
        result: what it gave.
        objective: the name of the objective that compares outputs.
        logits: whether outputs are compared as logits, whose last axis counts classes.

    Raises:
        LimpetError: it gave no outputs, or none that the objective can compare; or, when it is differentiated, the
            outputs do not depend on what the loss depends on by anything that has a derivative.
    """
    wanted = "let loss_fn give a tuple (loss, outputs), outputs such as logits of shape (batch, classes), and what else"
    wanted += " it gives, such as an accuracy, behind them"
    if not isinstance(result, tuple) or len(result) < 2 or not isinstance(result[1], jax.Array):
        second = (
            f" whose second is a {type(result[1]).__name__}" if isinstance(result, tuple) and len(result) > 1 else ""
        )
        raise LimpetError(
            f"{objective} compares outputs of the network: {wanted}; it gave a {type(result).__name__}{second}"
        )
    outputs = result[1]
    shape = f"{outputs.dtype} of shape {outputs.shape}"
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise LimpetError(f"{objective}: loss_fn gave outputs of type {shape}, which have no gradient: {wanted}")
    if logits and (outputs.ndim < 2 or outputs.shape[-1] < 2):
        why = (
            "have no axis of classes beside one of examples (of a single example, give logits[None])"
            if outputs.ndim < 2
            else "have one class, whose probability is always 1 (of a single logit z, give both classes: 0 and z)"
        )
        raise LimpetError(f"{objective} compares class probabilities: loss_fn gave {shape}, which {why}: {wanted}")
    return _differentiable(objective, loss_of(result), outputs)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _differentiable(objective: str, loss: jax.Array, outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same loss and outputs, refused when they are differentiated and only the loss has a derivative."""
    return loss, outputs


@partial(_differentiable.defjvp, symbolic_zeros=True)
def _(objective: str, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    of_loss, of_outputs = map(is_known_zero, tangents)
    if of_outputs and not of_loss:
        raise LimpetError(
            f"{objective} compares outputs of the network, but those that loss_fn gave have no gradient: they count or "
            f"choose, as argmax and comparisons do, or are behind stop_gradient. Give the logits that the loss is "
            f"computed from, (loss, logits); further values, such as an accuracy, go behind them"
        )
    values = tuple(
        jnp.zeros_like(primal) if is_known_zero(tangent) else tangent
        for primal, tangent in zip(primals, tangents, strict=True)
    )
    return primals, values


def checked_draws(draws: Any, fewest: int = 1, name: str = "draws") -> int:
    """A number of chips.

    Raises:
        LimpetError: it is no whole number, or too small.
    """
    return whole(name, draws, fewest)
