"""Conversion: rounding to codes, clipping to a range, and the gradients of both."""

from functools import partial

import jax
import jax.numpy as jnp

from ._converter import Converter

MOSTLY_WITHIN = 0.95
"""Where more than this share of inputs is within a learned range, the range decays."""


def largest_of(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """The largest absolute input along some axes, which are kept; a constant to gradients."""
    return jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=axes, keepdims=True, initial=0))


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def converted(x: jax.Array, largest: jax.Array, converter: Converter) -> jax.Array:
    """The codes of values; of a converter that does not round, the clipped values as multiples of the largest.

    Args:
        x: the values.
        largest: the value of the highest code, or of 1; a scalar, or of a shape that broadcasts to x's.
        converter: the converter.
    """
    return jnp.clip(_rounded(x, largest, converter), *ends(converter))


@converted.defjvp
def _(converter: Converter, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x, largest), (rate, _) = primals, tangents
    passed = rate * _per_value(largest, converter)
    if converter.bound is not None:  # outputs are rounded and then clipped; inputs it is the other way round
        (low, high), code = ends(converter), _rounded(x, largest, converter)
        passed = jnp.where((code >= low) & (code <= high), passed, 0)  # of which JAX keeps the bools
    elif not converter.signed:
        passed = jnp.where((x >= 0) & (x <= largest), passed, 0)
    elif converter.range not in ("dynamic", "batch"):  # those are as large as the largest input
        passed = jnp.where(jnp.abs(x) <= largest, passed, 0)
    return converted(x, largest, converter), passed


def ends(converter: Converter) -> tuple[float, float]:
    """The lowest and the highest code; of a converter that does not round, the ends as multiples of the largest."""
    if converter.codes is None:
        return (-1.0 if converter.signed else 0.0), 1.0
    return converter.lowest, converter.half


def beyond(y: jax.Array, largest: jax.Array, converter: Converter) -> jax.Array:
    """Which values are clipped, and would be less so if they were smaller."""
    if converter.signed:
        return clipped(y, largest, converter)
    return _rounded(y, largest, converter) > ends(converter)[1]


def clipped(y: jax.Array, largest: jax.Array, converter: Converter) -> jax.Array:
    """Which values are clipped."""
    (low, high), code = ends(converter), _rounded(y, largest, converter)
    return (code > high) | (code < low)


def value_of_code(largest: jax.Array, converter: Converter) -> jax.Array:
    """What one code is worth; of a converter that does not round, what 1 is."""
    return largest if converter.codes is None else largest * (1 / converter.half)


def _rounded(x: jax.Array, largest: jax.Array, converter: Converter) -> jax.Array:
    scaled = x * _per_value(largest, converter)
    if converter.codes is None:
        return scaled
    if converter.rounding == "nearest":
        return jnp.round(scaled)
    # The largest input lies at the edge of its code, and belongs to it, whatever the last bits of the division say.
    return jnp.floor(scaled + jnp.abs(scaled) * (4 * jnp.finfo(scaled.dtype).eps))


def _per_value(largest: jax.Array, converter: Converter) -> jax.Array:
    full = 1 if converter.codes is None else converter.half
    return jnp.where(largest > 0, full / jnp.where(largest > 0, largest, 1), 0).astype(jnp.result_type(largest))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def within_learned(x: jax.Array, range_: jax.Array, decay: float) -> jax.Array:
    """Inputs clipped to a range that is learned.

    The gradient of the range r, for the gradient g of what is clipped, is
    r (sum over x >= r of min(g, 0) - sum over x <= -r of max(g, 0)), plus decay r where more than 95% of the inputs lie
    within. Clipping can only widen it, and decay alone narrows it again, as in aihwkit and aihwkit-lightning.

    Args:
        x: the inputs.
        range_: the range, of a shape that broadcasts to x's, with as many axes.
        decay: the rate of decay.
    """
    return jnp.clip(x, -range_, range_).astype(x.dtype)


def _forward(x: jax.Array, range_: jax.Array, decay: float) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return within_learned(x, range_, decay), (x, range_)


def _backward(decay: float, kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, range_ = kept
    alike = tuple(axis for axis, size in enumerate(range_.shape) if size == 1)
    wider = jnp.where(x >= range_, jnp.minimum(slope, 0), 0) - jnp.where(x <= -range_, jnp.maximum(slope, 0), 0)
    share = jnp.mean(jnp.abs(x) < range_, axis=alike, keepdims=True)
    rate = wider.sum(alike, keepdims=True) + jnp.where(share > MOSTLY_WITHIN, decay, 0)
    return jnp.where(jnp.abs(x) <= range_, slope, 0), (rate * range_).astype(range_.dtype)


within_learned.defvjp(_forward, _backward)
