"""Weights clipped inside the loss, at bounds that training learns."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import jax
import jax.numpy as jnp

from .._checked import number, one_of
from .._errors import LimpetError, PrototypeError
from .._jax import is_traced
from ..arrays._array import UNSAID, Array, Layout
from ..arrays._reductions import Per, reduced_shape, spread, standard_deviation
from ..leaves._adapter import Leaves
from ..leaves._adapters import adapter_of
from ..leaves._arrays import arrays_of, checked_arrays, layouts_of_kernels
from ..leaves._paths import listing

Bounds = dict[str, jax.Array]
"""By leaf path, the largest absolute value that a weight may have: a scalar, or one for each array or column."""


def clip_bounds(
    params: Any,
    leaves: Sequence[str] | None = None,
    *,
    sigmas: float = 2.5,
    per: Per = "array",
    array: Array | Mapping[str, Array] = UNSAID,
) -> Bounds:
    """Where `clipped` begins: at so many standard deviations of each kernel.

    Args:
        params: parameters, or a Flax nnx module.
        leaves: path globs; of the leaves that they match, those of two axes or more get a bound. None for kernels, as
            `limpet.clip_weights` has it: leaves of two axes or more that hold values of both signs.
        sigmas: how many standard deviations, above 0.
        per: what gets a bound of its own: each "array", each "column" of an array (an output), or each leaf, "tensor".
        array: the arrays that leaves sit on, as `limpet.Part` takes them.

    Raises:
        LimpetError: `sigmas` is no number above 0; or an array (or column) has no spread, so that all of it would be
            clipped to 0, or one that is not finite.
        PrototypeError: a glob matches no leaf, or none of them has two axes; or there is no kernel.

    Examples:
        >>> clip_bounds({"kernel": jnp.array([[1.0, -1.0], [1.0, -1.0]]), "bias": jnp.zeros(2)}, sigmas=2.0)
        {'kernel': Array(2., dtype=float32)}
    """
    sigmas = number("sigmas", sigmas, 0, above=True)
    one_of("per", per, get_args(Per))
    layouts = layouts_of_kernels(params, leaves, checked_arrays(array))
    held = {path: jnp.asarray(leaf) for path, leaf in adapter_of(params).leaves(params).items() if path in layouts}
    if leaves is None:  # whether a traced one is a kernel shows when its bound is computed
        held = {path: leaf for path, leaf in held.items() if is_traced(leaf) or about_zero(leaf)}
    if not held:
        signs = " and values of both signs" if leaves is None else ""
        raise PrototypeError(f"leaves: none of them has two axes or more{signs} besides a stack: there is none to clip")
    bounds = {path: sigmas * standard_deviation(leaf, layouts[path], per) for path, leaf in held.items()}
    bounds = {path: bound.reshape(()) if bound.size == 1 else bound for path, bound in bounds.items()}
    if leaves is None:
        bounds = {path: jnp.where(about_zero(held[path]), bound, jnp.inf) for path, bound in bounds.items()}
    for path, bound in bounds.items():
        if not is_traced(bound) and not ((bound > 0) & jnp.isfinite(bound)).all():
            raise LimpetError(
                f"leaf '{path}': its spread is {float(bound.min()) / sigmas:.3g}, of which no bound can be made: begin "
                f"from initialised weights, or leave it out of leaves"
            )
    return bounds


def about_zero(leaf: jax.Array) -> jax.Array:
    """Whether values of both signs are among a leaf's, as among weights, and not among time constants or scales."""
    return (leaf.min(initial=0) < 0) & (leaf.max(initial=0) > 0)


def clipped(params: Any, bounds: Mapping[str, jax.Array], *, array: Array | Mapping[str, Array] = UNSAID) -> Any:
    """Parameters whose weights are clipped to [-bound, bound], to be called inside the loss, before the draw.

    The gradient of a weight within its bound passes, that of one beyond it goes to the bound: d/d bound = sign(w) for
    each of those. So bounds are trained as parameters are: where noise is relative to the largest weight, the bound
    says how large that is, and training finds whether a few large weights are worth the noise of all others.

    Args:
        params: parameters, or a Flax nnx module.
        bounds: the bounds by leaf path, as `clip_bounds` gives them. One that training moves below 0 counts by its
            absolute value; where one is NaN, the weights are.
        array: the arrays that leaves sit on, as they were said to `clip_bounds`.

    Returns:
        The same tree; of a module, one that shares all other state with it.

    Raises:
        PrototypeError: there is no leaf of a bound's path, or its shape is not the leaf's, nor broadcast to it.

    Reference: J. Choi et al., "PACT: parameterized clipping activation for quantized neural networks",
    arXiv:1805.06085 (2018), for activations; here it is weights, on both sides.

    Examples:
        >>> params, bounds = {"kernel": jnp.array([[0.5, -3.0]])}, {"kernel": jnp.ones(())}
        >>> clipped(params, bounds)["kernel"]
        Array([[ 0.5, -1. ]], dtype=float32)
        >>> jax.grad(lambda bounds: clipped(params, bounds)["kernel"].sum())(bounds)
        {'kernel': Array(-1., dtype=float32)}
    """
    adapter = adapter_of(params)
    held = adapter.leaves(params)
    if missing := [path for path in bounds if path not in held]:
        raise PrototypeError(f"bounds: there is no leaf {listing(missing)}; the paths are: {listing(held)}")

    layouts = {
        path: array.layout(jnp.shape(held[path]))
        for path, array in arrays_of(params, checked_arrays(array), bounds).items()
    }

    def limited(leaves: Leaves) -> Leaves:
        return leaves | {
            path: _limited(path, jnp.asarray(leaves[path]), bound, layouts[path]) for path, bound in bounds.items()
        }

    return adapter.with_values(params, limited)


def _limited(path: str, weights: jax.Array, bound: jax.Array, layout: Layout) -> jax.Array:
    bound = jnp.abs(jnp.asarray(bound, weights.dtype))
    pers = [per for per in ("array", "column") if layout.cut and bound.shape == reduced_shape(layout, per)]
    if pers:
        bound = spread(bound, layout, pers[0])
    elif bound.ndim > weights.ndim or jnp.broadcast_shapes(bound.shape, weights.shape) != weights.shape:
        raise PrototypeError(
            f"bounds: '{path}' has the shape {bound.shape}, its leaf {weights.shape}; give what limpet.clip_bounds "
            f"makes, and the same array as to that"
        )
    # Written as `<=` so that a NaN bound gives NaN rather than the unclipped weight.
    return jnp.where(jnp.abs(weights) <= bound, weights, jnp.sign(weights) * bound)
