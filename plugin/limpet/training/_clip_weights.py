"""Weights kept within a few standard deviations, as an optax transformation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from .._checked import number
from .._errors import LimpetError
from ..leaves._chosen import chosen_paths
from ..leaves._paths import leaves_by_path
from ._clipped import about_zero


class ClipWeightsState(NamedTuple):
    """Nothing is kept from step to step."""


def clip_weights(
    sigmas: ArrayLike = 2.5, *, leaves: Sequence[str] | None = None, per_channel: bool = False
) -> optax.GradientTransformation:
    """Clip weights to so many standard deviations after each update, the last link of an optax chain.

    Where noise is relative to a tensor's largest weight, a few weights that grow make all of it worse, and a gradient
    that does not flow through the largest one does not tell. Each kernel is clipped to [-sigmas s, sigmas s], s being
    its standard deviation as it is after the update. (A gradient that flows through the largest weight, as Limpet's
    does if nothing else is said, keeps weights in bounds by itself.)

    A kernel is a leaf of two axes or more that holds values of both signs. Vectors (biases), time constants,
    thresholds and scales, which are of one sign, and what holds no real numbers stay as they are; and so does a channel
    all of whose weights are equal, which has no spread.

    Args:
        sigmas: how many standard deviations, above 0; may be traced, as by `optax.inject_hyperparams`.
        leaves: path globs of the leaves of two axes or more that are clipped, whatever their signs; None for kernels.
        per_channel: whether s is of each output, the last axis; else of the whole leaf.

    Returns:
        A transformation whose `update` needs `params`. Put it last: it looks at where updates lead.

    Raises:
        LimpetError: `sigmas` is not above 0, where it is known; when called: there are no `params`.
        PrototypeError: when called: a glob matches no leaf.

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
        beyond = (jnp.abs(moved) > bound) & (bound > 0)
        if leaves is None:
            beyond &= about_zero(moved)
        return jnp.where(beyond, (jnp.clip(moved, -bound, bound) - weight).astype(update.dtype), update)

    def init(params: Any) -> ClipWeightsState:
        return ClipWeightsState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise LimpetError("clip_weights needs the parameters: call optimizer.update(grads, state, params)")
        if leaves is None:
            return jax.tree.map(clipped, updates, params), state
        paths = leaves_by_path(params)[0]
        chosen = set(chosen_paths(leaves, paths, "leaves"))
        moved, structure = leaves_by_path(updates)
        return structure.unflatten(
            clipped(update, paths[path]) if path in chosen else update for path, update in moved.items()
        ), state

    return optax.GradientTransformation(init, update)
