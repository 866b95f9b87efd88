"""How far a law is from what was measured, and how often chance brings as much."""

import math

import numpy as np
from scipy import special

from ._alike import Values
from ._shapes import Shape, refitted

RESAMPLES = 199
"""The number of simulated benches behind a p-value, which is so known to 0.005."""
MOST_SIMULATED = 1000
"""The most values of a simulated bench: of more, the distance is scaled as theory has it."""


def goodness(residuals: Values, shape: Shape | None) -> tuple[float, float]:
    """The Kolmogorov-Smirnov distance between residuals and their law, and its p-value.

    The p-value is the fraction of simulated benches of the law that are at least as far from the law fitted to
    themselves. (The usual one does not hold where a law was fitted to the very same values.)

    Args:
        residuals: the residuals, shape (values,): what devices are off by, relative to the center of the law.
        shape: the law; None for a normal one of the residuals' own mean and width.
    """
    law = None if shape is None else shape.deviation.distribution()
    ordered = np.sort(residuals)
    measured = _distance(_normal(ordered) if law is None else law.cdf(ordered))
    count = min(len(residuals), MOST_SIMULATED)
    generator, farther = np.random.default_rng(0), 0
    for _ in range(RESAMPLES):
        uniform = np.sort(generator.uniform(size=count))
        # A Gaussian and a log-normal law are normal ones, fitted by mean and width.
        if law is None or shape is None or shape.kind in ("gaussian", "log-normal"):
            simulated = _normal(special.ndtri(uniform))
        else:
            drawn = law.ppf(uniform)
            again = refitted(shape, drawn)
            simulated = uniform if again is None else again.deviation.distribution().cdf(drawn / again.center)
        farther += _distance(simulated) * _scale(count) >= measured * _scale(len(residuals))
    return measured, (farther + 1) / (RESAMPLES + 1)


def _normal(values: Values) -> Values:
    """The normal distribution function of the values' own mean and width, at each."""
    return special.ndtr((values - values.mean()) / values.std())


def _distance(cumulative: Values) -> float:
    """The Kolmogorov-Smirnov distance of ordered values, by a law's distribution function at each."""
    ranks = np.arange(len(cumulative) + 1) / len(cumulative)
    return float(max((ranks[1:] - cumulative).max(), (cumulative - ranks[:-1]).max()))


def _scale(count: int) -> float:
    """The factor that makes distances of any number of values alike; Stephens (1974), J. Am. Stat. Assoc. 69:730."""
    return math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count)
