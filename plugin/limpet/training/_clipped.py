"""Weights clipped inside the loss, at bounds that training learns."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._checked import number
from .._errors import LimpetError, PrototypeError
from .._jax import is_traced
from ..leaves._adapter import Leaves
from ..leaves._adapters import adapter_of
from ..leaves._chosen import chosen_paths
from ..leaves._paths import is_real, listing

Bounds = dict[str, jax.Array]
"""By leaf path, the largest absolute value that a weight may have: a scalar, or one for each output, the last axis."""


def clip_bounds(
    params: Any, leaves: Sequence[str] | None = None, *, sigmas: float = 2.5, per_channel: bool = False
) -> Bounds:
    """Where `clipped` begins: at so many standard deviations of each kernel.

    Args:
        params: parameters, or a Flax nnx module.
        leaves: path globs; of the leaves that they match, those of two axes or more get a bound. None for kernels, as
            `limpet.clip_weights` has it: leaves of two axes or more that hold values of both signs.
        sigmas: how many standard deviations, above 0.
        per_channel: whether each output, the last axis, gets a bound of its own; else each leaf one.

    Raises:
        LimpetError: `sigmas` is no number above 0; or a matrix (with `per_channel` an output) has no spread, so that
            all of it would be clipped to 0, or one that is not finite.
        PrototypeError: a glob matches no leaf, or none of them has two axes; or there is no kernel.

    Examples:
        >>> clip_bounds({"kernel": jnp.array([[1.0, -1.0], [1.0, -1.0]]), "bias": jnp.zeros(2)}, sigmas=2.0)
        {'kernel': Array(2., dtype=float32)}
    """
    sigmas = number("sigmas", sigmas, 0, above=True)
    held = adapter_of(params).leaves(params)
    globs = ["*"] if leaves is None else leaves
    chosen = [path for path in chosen_paths(globs, list(held), "leaves") if is_real(held[path])]
    matrices = {path: jnp.asarray(held[path]) for path in chosen if jnp.ndim(held[path]) >= 2}
    if leaves is None:  # whether a traced one is a kernel shows when its bound is computed
        matrices = {path: leaf for path, leaf in matrices.items() if is_traced(leaf) or about_zero(leaf)}
    if not matrices:
        signs = " and values of both signs" if leaves is None else ""
        raise PrototypeError(f"leaves: none of {listing(chosen)} has two axes or more{signs}: there is none to clip")
    bounds = {
        path: sigmas * matrix.std(axis=tuple(range(matrix.ndim - 1)) if per_channel else None)
        for path, matrix in matrices.items()
    }
    if leaves is None:
        bounds = {path: jnp.where(about_zero(matrices[path]), bound, jnp.inf) for path, bound in bounds.items()}
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


def clipped(params: Any, bounds: Mapping[str, jax.Array]) -> Any:
    """Parameters whose weights are clipped to [-bound, bound], to be called inside the loss, before the draw.

    The gradient of a weight within its bound passes, that of one beyond it goes to the bound: d/d bound = sign(w) for
    each of those. So bounds are trained as parameters are: where noise is relative to the largest weight, the bound
    says how large that is, and training finds whether a few large weights are worth the noise of all others.

    Args:
        params: parameters, or a Flax nnx module.
        bounds: the bounds by leaf path, as `clip_bounds` gives them. One that training moves below 0 counts by its
            absolute value; where one is NaN, the weights are.

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

    def limited(leaves: Leaves) -> Leaves:
        return leaves | {path: _limited(path, jnp.asarray(leaves[path]), bound) for path, bound in bounds.items()}

    return adapter.with_values(params, limited)


def _limited(path: str, weights: jax.Array, bound: jax.Array) -> jax.Array:
    bound = jnp.abs(jnp.asarray(bound, weights.dtype))
    if bound.ndim > weights.ndim or jnp.broadcast_shapes(bound.shape, weights.shape) != weights.shape:
        raise PrototypeError(f"bounds: '{path}' has the shape {bound.shape}, its leaf {weights.shape}")
    # Written as `<=` so that a NaN bound gives NaN rather than the unclipped weight.
    return jnp.where(jnp.abs(weights) <= bound, weights, jnp.sign(weights) * bound)
