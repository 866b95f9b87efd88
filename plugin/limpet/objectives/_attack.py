"""Sign ascent in a box around the weights: the worst mismatch of a given size, approximately."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..draws._keys import leaf_key, path_hash
from ..draws._normal import scaled_normal

Values = dict[str, jax.Array]
"""Values by leaf path."""


def sign_ascent(
    objective: Callable[[Values], jax.Array],
    weights: Values,
    start: Mapping[str, jax.Array],
    zeta: ArrayLike,
    steps: int,
    projected: bool,
) -> Values:
    """Weights that were moved, within zeta |w| of where they were, to where an objective is larger.

    w* = w + |w| d, with d = start + (zeta / N) sum over N steps of sign(gradient of the objective at w*). Directions
    carry no gradient, so that the derivative of w* by w is the diagonal 1 + sign(w) d, and nothing is differentiated
    twice.

    The steps are one `lax.scan`: they are compiled once, however many there are.

    Args:
        objective: the function of weights that is to grow; arrays that it captures are constants.
        weights: the weights by path.
        start: the direction before the first step, of the weights' shapes.
        zeta: the relative size of the box; may be traced.
        steps: the number N of steps; with 0 of them, only the start is left.
        projected: whether the start counts: each step is then followed by a projection of d onto [-zeta, zeta].
    """
    constant, box = jax.lax.stop_gradient(weights), jnp.asarray(zeta)

    def moved(weights: Values, direction: Values) -> Values:
        return {path: weight + jnp.abs(weight) * direction[path] for path, weight in weights.items()}

    def step(direction: Values, _: None) -> tuple[Values, None]:
        slope = jax.grad(objective)(moved(constant, direction))
        size = box / steps
        ahead = {path: value + size.astype(value.dtype) * jnp.sign(slope[path]) for path, value in direction.items()}
        if projected:
            ahead = {path: jnp.clip(value, -box, box).astype(value.dtype) for path, value in ahead.items()}
        return ahead, None

    direction, _ = jax.lax.scan(step, dict(start), None, length=steps)
    return moved(weights, jax.lax.stop_gradient(direction))


def random_start(key: jax.Array, weights: Values, spread: ArrayLike) -> Values:
    """Normal numbers of a standard deviation, for each weight; they follow from the key and the leaf's path."""

    def start(path: str, weight: jax.Array) -> jax.Array:
        wide = jnp.asarray(spread, jnp.float64 if weight.dtype == jnp.float64 else jnp.float32)
        return scaled_normal(leaf_key(key, path_hash(path)), weight.shape, wide).astype(weight.dtype)

    return {path: start(path, weight) for path, weight in weights.items()}
