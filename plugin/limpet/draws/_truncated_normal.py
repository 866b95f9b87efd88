"""Truncated normal numbers: normal ones given that they lie within a bound, scaled to standard deviation 1.

Under `limpet.fast` they cost what normal numbers cost (see `_normal.py`): the same bell is bent by another odd
polynomial. Where the bound is near, that is even easier than bending it into a normal distribution, which has no end.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._normal import WEIGHTS, bell, bend, is_fast, scaled
from ._shard import Shard


class Cut(NamedTuple):
    """A standard normal number given that it lies between -place and place."""

    place: float
    spread: float
    """Its standard deviation."""


def truncated_normal(
    key: jax.Array,
    shape: tuple[int, ...],
    sigma: jax.Array,
    bound: float,
    shard: Shard | None = None,
) -> jax.Array:
    """`sigma * n`, n of mean 0 and standard deviation 1: a normal distribution cut at -bound and bound.

    Args:
        key: a random key, shape ().
        shape: the shape of the result.
        sigma: the standard deviation, a scalar of float32 or float64, which gives the result's dtype; a negative one
            gives the mirror image.
        bound: the largest |n|, above sqrt(3) and at most 8.
        shard: the part of a leaf that the numbers are; None for all of it.
    """
    largest = jnp.abs(sigma) * bound
    if is_fast(key):
        place = bell(key, shape, sigma.dtype, shard)
        number = place * bend(place, scaled(bend_for(bound), sigma))
    else:
        place, spread = cut_for(bound)
        centred = jax.random.uniform(key, shape, sigma.dtype, -1, 1) * math.erf(place / math.sqrt(2))
        number = jax.lax.erf_inv(centred) * (sigma * (math.sqrt(2) / spread))
    return jnp.clip(number, -largest, largest)


@lru_cache(maxsize=256)
def cut_for(bound: float) -> Cut:
    """Where to cut a standard normal distribution so that it ends at `bound` standard deviations of what remains."""
    low, high = 1e-3, 8.0
    for _ in range(60):  # bisection: place / spread grows with place
        place = (low + high) / 2
        low, high = (place, high) if place / _spread(place) < bound else (low, place)
    return Cut(high, _spread(high))


def _spread(cut: float) -> float:
    """The standard deviation of a standard normal number given that it lies between -cut and cut."""
    inside = math.erf(cut / math.sqrt(2))
    density = math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi)
    return math.sqrt(1 - 2 * cut * density / inside)


@lru_cache(maxsize=256)
def bend_for(bound: float) -> tuple[float, ...]:
    """The coefficients of t, t^3, ... by which `bell`'s t becomes a truncated normal number of standard deviation 1.

    The number that stands for t is the one that as many truncated normal numbers lie below as there are bells below t.
    Polynomials of four and of five terms are fitted to that by least squares, weighted by how many bells there are at
    t; once so, and once also by the square root of the normal density (in the tails a large distance between numbers is
    a small one between distribution functions). The polynomial whose numbers are nearest to the truncated normal
    distribution is taken: their distribution functions differ by less than .0011 for every bound. The coefficients are
    rounded, so that they do not depend on the machine's linear algebra.
    """
    place, mass = _bell_distribution()
    rank = np.cumsum(mass) - mass / 2
    cut, spread = cut_for(bound)
    wanted = _quantile(rank, cut) / spread
    best: tuple[float, tuple[float, ...]] = (np.inf, ())
    for terms in (4, 5):
        powers = place[:, None] ** (2 * np.arange(terms) + 1)
        for exponent in (0.0, 0.5):
            weight = np.sqrt(mass) * np.exp(-exponent * (wanted * spread) ** 2 / 2)
            coefficients = np.linalg.lstsq(powers * weight[:, None], wanted * weight, rcond=None)[0]
            for _ in range(20):  # until the standard deviation is 1, the clipping at the bound included
                bent = np.clip(powers @ coefficients, -bound, bound)
                coefficients = coefficients / math.sqrt((mass * bent**2).sum())
            bent = np.clip(powers @ coefficients, -bound, bound)
            order = np.argsort(bent, kind="stable")
            distance = np.abs(_distribution(bent[order] * spread, cut) - np.cumsum(mass[order]) + mass[order] / 2).max()
            best = min(best, (float(distance), tuple(float(f"{c:.7g}") for c in coefficients)))
    return best[1]


@lru_cache(maxsize=1)
def _bell_distribution() -> tuple[np.ndarray, np.ndarray]:
    """The values of `bell`, in 4,095 classes, and how probable each class is."""
    difference = np.arange(-255, 256)
    probability = (256 - np.abs(difference)) / 256**2  # of a difference of two bytes
    upper, lower = (WEIGHTS & 0xFFFF) / 2**15, (WEIGHTS >> 16) / 2**15
    place = (upper * difference[:, None] + lower * difference[None, :]).ravel()
    mass = (probability[:, None] * probability[None, :]).ravel()
    classes = np.linspace(-1, 1, 4096)
    number = np.digitize(place, classes)
    total = np.bincount(number, mass, minlength=len(classes) + 1)
    mean = np.bincount(number, mass * place, minlength=len(classes) + 1)
    kept = total > 0
    return mean[kept] / total[kept], total[kept]


def _quantile(rank: np.ndarray, cut: float) -> np.ndarray:
    from scipy.special import ndtr, ndtri

    lower = ndtr(-cut)
    return ndtri(lower + (1 - 2 * lower) * rank)


def _distribution(number: np.ndarray, cut: float) -> np.ndarray:
    from scipy.special import ndtr

    lower = ndtr(-cut)
    return (ndtr(number) - lower) / (1 - 2 * lower)
