"""How heavy the tails of deviations from group means are, as far as it matters for the interval of their spread."""

import numpy as np
from numpy.typing import NDArray

LARGEST = 24.0
"""Excess kurtosis of Student's distribution of 4.25 degrees of freedom; that of 4 and fewer is infinite."""
LEAST = -1.2
"""Excess kurtosis of the uniform distribution."""
_STUDENTS = np.array([0.05, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LARGEST])
"""Excess kurtosis of the distributions of Student's that are looked at."""
_POWERS = np.array([16.0, 6.0, 3.0, 1.5, 1.25, 1.0, 0.75])
"""Of the densities `exp(-|x / scale|^power)` that are looked at."""
GENERALISED = 0.25
"""How likely beforehand each of these is, where one of Student's of the same kurtosis is 1: heavy tails are common."""
_STEPS = 25
"""Of the fit of a scale; each halves the error at least, for the tails of the grid."""


def kurtosis(deviations: NDArray[np.float64], counts: NDArray[np.intp]) -> float:
    """The excess kurtosis of values, at least 0: that of normal ones; Student's distribution of 5 degrees has 6.

    It is the larger one of two estimates. The sample's fourth moment is the usual one; of heavy tails it is too small
    in most samples, because what makes it large happens rarely, and then the sample's variance is too small as well:
    95% intervals that rely on it cover in 90%. So the other one looks at the bulk of the values: it is the mean over
    laws (Student's and generalised normal ones), each weighted by the likelihood of the values and, beforehand, by
    `1 / (1 + its kurtosis)`, chosen so that intervals cover well of laws as different as these:
    `tests/benchmarks/README.md` says how often.

    Args:
        deviations: the deviations of the values from the means of their groups, shape (values,).
        counts: how many values the group of each has, shape (values,).
    """
    if not deviations.any():
        return 0.0
    # Of a group of m, a deviation holds (1 - 1/m) of its value, and 1/m of the m - 1 others with the sign turned: so
    # much of the variance, and of the fourth cumulant.
    share = 1 - 1 / counts
    fourth = share**4 + (counts - 1) / counts**4.0
    squares = deviations**2
    variance = squares.sum() / share.sum()
    by_moment = ((squares**2).sum() / variance**2 - 3 * (share**2).sum()) / fourth.sum()
    several = counts > 1
    standard = squares[several] / (share[several] * variance)
    by_bulk = _of_bulk(standard) * several.sum() / (fourth[several] / share[several] ** 2).sum()
    return float(max(by_moment, by_bulk, LEAST))


def _of_bulk(squares: NDArray[np.float64]) -> float:
    """The mean excess kurtosis of laws, given squares of values of any scale."""
    students, generalised = _students(squares), _generalised_normals(squares)
    kurtoses, likelihoods = (np.concatenate(both) for both in zip(students, generalised, strict=True))
    beforehand = np.repeat([1.0, GENERALISED], [len(_STUDENTS), len(_POWERS)]) / (1 + np.abs(kurtoses))
    weights = np.exp(likelihoods - likelihoods.max()) * beforehand
    return float((weights * kurtoses).sum() / weights.sum())


def _students(squares: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Excess kurtosis and log-likelihood of Student's distributions, each of the scale that fits best."""
    from scipy import special

    degrees = 4 + 6 / _STUDENTS
    scale = (degrees - 2) / degrees * squares.mean()
    for _ in range(_STEPS):  # expectation maximisation, of all distributions at once
        weights = (degrees + 1)[:, None] / (degrees[:, None] + squares / scale[:, None])
        scale = (weights * squares).mean(axis=1)
    each = special.gammaln((degrees + 1) / 2) - special.gammaln(degrees / 2) - np.log(degrees * np.pi * scale) / 2
    tails = (degrees + 1) / 2 * np.log1p(squares / (degrees * scale)[:, None]).sum(axis=1)
    return _STUDENTS, len(squares) * each - tails


def _generalised_normals(squares: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same of densities that are proportional to `exp(-|x / scale|^power)`: 2 is normal, 1 Laplace's."""
    from scipy import special

    power = _POWERS
    logs = special.gammaln(np.stack([5 / power, 1 / power, 3 / power]))
    kurtoses = np.exp(logs[0] + logs[1] - 2 * logs[2]) - 3
    mean = (squares ** (power[:, None] / 2)).mean(axis=1)
    each = np.log(power / 2) - logs[1] - np.log(power * mean) / power - 1 / power
    return kurtoses, len(squares) * each
