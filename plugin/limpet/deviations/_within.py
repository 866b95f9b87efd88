"""Deviations given that the result lies within a range."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ._deviation import Deviation
from ._draw import Draw
from ._gaussian import Gaussian
from ._log_normal import LogNormal, sigma_of_logarithm
from ._power_of_two import power_of_two

FARTHEST = 5.0
"""Standard deviations. Beyond, float32 does not tell the normal distribution function from 0 or 1; what has to lie
there is put at the end of its range that is nearest to its nominal value."""

BEYOND = 1e6
"""Farther than any number leads. (An infinity would make gradients NaN.)"""


def supports_within(deviation: Deviation) -> bool:
    """Whether `deviate_within` knows the distribution of a deviation."""
    return type(deviation) in (Gaussian, LogNormal)


def deviate_within(
    deviation: Deviation,
    draw: Draw,
    value: jax.Array,
    strength: jax.Array,
    low: float | None,
    high: float | None,
) -> jax.Array:
    """One draw of a deviated array, given that each value lies between two limits.

    With n the normal number that takes a value to a limit, the number drawn is `Phi^-1(Phi(a) + u (Phi(b) - Phi(a)))`,
    u uniform between 0 and 1 and a < b those of the two limits: the inverse of the conditional distribution function.
    Results may be beyond a limit by rounding; clip them.

    Args:
        deviation: one that `supports_within`.
        draw: all the randomness there is.
        value: nominal values. Where one lies beyond a limit by more than 5 standard deviations, the limit is drawn.
        strength: the factor on the deviation, as `Deviation.deviate` takes it.
        low: the smallest value; None for none.
        high: the largest value; None for none.
    """
    assert isinstance(deviation, Gaussian | LogNormal)
    sigma = deviation.sigma * strength
    if isinstance(deviation, Gaussian):
        number = _conditional(draw, *_places(value, low, high, lambda ratio: ratio - 1, sigma))
        return value + value * (number * sigma)
    s = sigma_of_logarithm(sigma)
    if deviation.preserve == "mean":
        value = value * jnp.exp(-s * s / 2)
    number = _conditional(draw, *_places(value, low, high, _logarithm, s))
    return value * power_of_two(number * (s / math.log(2)))


def _places(
    value: jax.Array,
    low: float | None,
    high: float | None,
    change: Callable[[jax.Array], jax.Array],
    sigma: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Between which normal numbers a value stays within its limits, none farther than `FARTHEST`.

    Args:
        value: nominal values.
        low: the smallest value; None for none.
        high: the largest value; None for none.
        change: the function from the ratio of a deviated and its nominal value to the normal number times sigma that
            leads to it.
        sigma: the factor on normal numbers.
    """
    per_sigma = 1 / jnp.maximum(sigma, 1e-6)

    def place(limit: float) -> jax.Array:
        # Of a value that is next to nothing beside the limit, the ratio would overflow.
        counts = jnp.abs(value) * BEYOND > abs(limit)
        ratio = limit / jnp.where(counts, value, 1)
        far = jnp.where((value < 0) == (limit < 0), BEYOND, -BEYOND)
        return jnp.clip(jnp.where(counts, change(ratio), far) * per_sigma, -FARTHEST, FARTHEST)

    upwards = jnp.where(value < 0, -FARTHEST, FARTHEST)  # the way in which larger numbers move the value
    smallest = -upwards if low is None else place(low)
    largest = upwards if high is None else place(high)
    return jnp.where(value < 0, largest, smallest), jnp.where(value < 0, smallest, largest)


def _logarithm(ratio: jax.Array) -> jax.Array:
    """The logarithm; of a ratio that no factor above 0 reaches, farther down than any number leads."""
    return jnp.where(ratio > 0, jnp.log(jnp.where(ratio > 0, ratio, 1)), -BEYOND)


def _conditional(draw: Draw, first: jax.Array, last: jax.Array) -> jax.Array:
    """Standard normal numbers given that each lies between two others."""
    return _between(first, last, draw.uniform(first.shape, first.dtype))


@jax.custom_jvp
def _between(first: jax.Array, last: jax.Array, uniform: jax.Array) -> jax.Array:
    """The number between two others below which a share of the normal numbers between them lies.

    Args:
        first: the smallest number.
        last: the largest number.
        uniform: the share, between 0 and 1.
    """
    low, high = (jax.lax.erf(end * math.sqrt(0.5)) for end in (first, last))
    inside = 1 - float(jnp.finfo(jnp.float32).eps)
    rank = jnp.clip(low + uniform * (high - low), -inside, inside)
    return jnp.clip(math.sqrt(2) * jax.lax.erf_inv(rank), first, last)


@_between.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    first, last, uniform = primals
    number = _between(first, last, uniform)
    by_first, by_last = (jnp.exp((number**2 - end**2) / 2) for end in (first, last))
    return number, (1 - uniform) * by_first * tangents[0] + uniform * by_last * tangents[1]
