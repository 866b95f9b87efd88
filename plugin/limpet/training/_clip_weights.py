"""Weights kept within a few standard deviations, as an optax transformation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from .._checked import number
from .._errors import LimpetError


class ClipWeightsState(NamedTuple):
    """Nothing is kept from step to step."""


def clip_weights(sigmas: ArrayLike = 2.5, *, per_channel: bool = False) -> optax.GradientTransformation:
    """Clip weights to so many standard deviations after each update, the last link of an optax chain.

    Where noise is relative to a tensor's largest weight, a few weights that grow make all of it worse, and a gradient
    that does not flow through the largest one does not tell. Each leaf of two axes or more is clipped to
    [-sigmas s, sigmas s], s being the standard deviation of the leaf as it is after the update. Vectors (biases) and
    what holds no real numbers stay as they are. (A gradient that flows through the largest weight, as Limpet's does if
    nothing else is said, keeps weights in bounds by itself.)

    Args:
        sigmas: how many standard deviations, above 0; may be traced, as by `optax.inject_hyperparams`.
        per_channel: whether s is of each output, the last axis; else of the whole leaf.

    Returns:
        A transformation whose `update` needs `params`. Put it last: it looks at where updates lead.

    Raises:
        LimpetError: `sigmas` is not above 0, where it is known; when called: there are no `params`.

    Reference: V. Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature
    Communications 11:2473 (2020); M. Rasch et al., aihwkit, `WeightClipType.LAYER_GAUSSIAN`.

    Examples:
        >>> params = {"kernel": jnp.array([[1.0, -1.0, 1.0, -9.0]])}
        >>> optimizer = optax.chain(optax.sgd(0.1), clip_weights(1.5))
        >>> updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
        >>> print(optax.apply_updates(params, updates)["kernel"].round(2))
        [[ 1.   -1.    1.   -6.18]]
    """
    if not isinstance(sigmas, jax.Array):
        sigmas = number("sigmas", sigmas, 0, above=True)

    def clipped(update: Any, weight: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(weight), jnp.floating) or jnp.ndim(weight) < 2:
            return update
        moved = weight + update
        axes = tuple(range(moved.ndim - 1)) if per_channel else None
        bound = jnp.asarray(sigmas, moved.dtype) * moved.std(axis=axes, keepdims=True)
        return jnp.where(jnp.abs(moved) > bound, (jnp.clip(moved, -bound, bound) - weight).astype(update.dtype), update)

    def init(params: Any) -> ClipWeightsState:
        return ClipWeightsState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise LimpetError("clip_weights needs the parameters: call optimizer.update(grads, state, params)")
        return jax.tree.map(clipped, updates, params), state

    return optax.GradientTransformation(init, update)
