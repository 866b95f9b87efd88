"""Weights kept within a few standard deviations, as an optax transformation."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from .._checked import number, one_of
from .._errors import LimpetError
from ..arrays._array import UNSAID, Array, Layout
from ..arrays._reductions import Per, spread, standard_deviation
from ..leaves._arrays import checked_arrays, layouts_of_kernels
from ..leaves._paths import leaves_by_path
from ._clipped import about_zero


class ClipWeightsState(NamedTuple):
    """Nothing is kept from step to step."""


def clip_weights(
    sigmas: ArrayLike = 2.5,
    *,
    leaves: Sequence[str] | None = None,
    per: Per = "array",
    array: Array | Mapping[str, Array] = UNSAID,
) -> optax.GradientTransformation:
    """Clip weights to so many standard deviations after each update, the last link of an optax chain.

    Where noise is relative to an array's largest weight, a few weights that grow make all of it worse, and a gradient
    that does not flow through the largest one does not tell. Each array is clipped to [-sigmas s, sigmas s], s being
    the standard deviation of its weights as they are after the update. (A gradient that flows through the largest
    weight, as Limpet's does if nothing else is said, keeps weights in bounds by itself.)

    A kernel is a leaf of two axes or more besides the stack that holds values of both signs. Vectors (biases), time
    constants, thresholds and scales, which are of one sign, and what holds no real numbers stay as they are; and so
    does an array all of whose weights are equal, which has no spread.

    Args:
        sigmas: how many standard deviations, above 0; may be traced, as by `optax.inject_hyperparams`.
        leaves: path globs of the leaves of two axes or more that are clipped, whatever their signs; None for kernels.
        per: what s is taken of: each "array", each "column" of an array (an output), or the whole leaf, "tensor".
        array: the arrays that leaves sit on, as `limpet.Part` takes them.

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

    one_of("per", per, get_args(Per))
    said = checked_arrays(array)

    def clipped(update: Any, weight: Any, layout: Layout) -> Any:
        moved = weight + update
        bound = jnp.asarray(sigmas, moved.dtype) * spread(standard_deviation(moved, layout, per), layout, per)
        beyond = (jnp.abs(moved) > bound) & (bound > 0)
        if leaves is None:
            beyond &= about_zero(moved)
        return jnp.where(beyond, (jnp.clip(moved, -bound, bound) - weight).astype(update.dtype), update)

    def init(params: Any) -> ClipWeightsState:
        return ClipWeightsState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise LimpetError("clip_weights needs the parameters: call optimizer.update(grads, state, params)")
        layouts, held = layouts_of_kernels(params, leaves, said), leaves_by_path(params)[0]
        moved, structure = leaves_by_path(updates)
        return structure.unflatten(
            clipped(update, held[path], layouts[path]) if path in layouts else update for path, update in moved.items()
        ), state

    return optax.GradientTransformation(init, update)
