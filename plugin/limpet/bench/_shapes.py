"""The distributions that factors may follow, fitted, and the evidence for each."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from limpet import Deviation, Gaussian, LogNormal, StrengthError, StudentT, TruncatedGaussian, Uniform
from limpet.deviations import kind_of

from ._alike import Values

DEGREES = np.array([2.2, 2.5, 3, 3.5, 4, 5, 6, 8, 11, 16, 30])
"""The degrees of freedom of Student's distribution that are looked at: below 2 it has no standard deviation, and beyond
30 it differs from a Gaussian in one value of a thousand."""
CUTS = np.arange(0.5, 3.1, 0.25)
"""The places, in standard deviations, at which a truncated Gaussian may be cut: nearer it is a uniform distribution,
and farther out a Gaussian."""
STEPS = 50
"""Of expectation maximisation, which at least halves the error that is left."""


@dataclass(frozen=True)
class Shape:
    """A distribution fitted to factors: they are `center` times what the deviation makes of 1.

    Attributes:
        deviation: the fitted deviation, relative to the center.
        center: the center, a mean (of a log-normal distribution, a median).
        evidence: the logarithm of the probability of the factors, averaged over all centers and widths (and over
            degrees of freedom, or places of the cut), see `shapes`.
    """

    deviation: Deviation
    center: float
    evidence: float

    @property
    def kind(self) -> str:
        """The name of the deviation."""
        return kind_of(self.deviation)


def shapes(factors: Values) -> dict[str, Shape]:
    """Every distribution that may have given some factors, with its evidence, by kind.

    The evidence of a distribution g is its likelihood averaged over centers c and widths w,
    `integral of prod(g((x - c) / w) / w) dc dw / w`. With these weights, which favour no center and no unit, the ratio
    of two such evidences is the most powerful test that there is between two distributions of unknown center and width
    (Hajek and Sidak, 1967, Theory of Rank Tests, II.2.2). It holds for distributions that end, too, where those that
    count parameters (AIC, BIC) do not: the ends of a uniform distribution are always at the outermost values. If the
    factors follow g, the chance that another distribution's evidence is r times that of g is at most 1 / r.

    Args:
        factors: the factors, shape (values,), not all equal and of a mean above 0.
    """
    found = {}
    for fit in (_gaussian, _log_normal, _student_t, _truncated_gaussian, _uniform):
        try:
            shape = fit(factors)
        except StrengthError:  # so wide that the deviation would refuse it, in a table with an extreme value
            continue
        if shape is not None and math.isfinite(shape.evidence):
            found[shape.kind] = shape
    return found


def normal_evidence(squares: float, count: int, fixed: int, log_determinant: float) -> float:
    """The evidence of a normal distribution about a linear mean, of unknown coefficients and width.

    Args:
        squares: the sum of the squares of what the fixed columns leave.
        count: the number of values.
        fixed: the number of fixed columns.
        log_determinant: the logarithm of the determinant of the columns' products, X'X.
    """
    free = count - fixed
    if free < 1:
        return -math.inf
    squares = max(squares, 1e-300)
    inside = free / 2 * math.log(squares / 2) + free / 2 * math.log(2 * math.pi)
    return math.lgamma(free / 2) - math.log(2) - inside - log_determinant / 2


def _gaussian(factors: Values) -> Shape:
    center, spread = float(factors.mean()), float(factors.std(ddof=1))
    count = len(factors)
    evidence = normal_evidence(spread**2 * (count - 1), count, 1, math.log(count))
    return Shape(Gaussian(spread / center), center, evidence)


def _log_normal(factors: Values) -> Shape | None:
    if factors.min() <= 0:
        return None
    logs = np.log(factors)
    center, spread, count = float(logs.mean()), float(logs.std(ddof=1)), len(factors)
    # Centers of logarithms are counted as fractions of the center, those of factors as such.
    evidence = normal_evidence(spread**2 * (count - 1), count, 1, math.log(count)) - float(logs.sum()) + center
    return Shape(LogNormal(sigma_ln=spread), math.exp(center), evidence)


def _uniform(factors: Values) -> Shape | None:
    low, high, count = float(factors.min()), float(factors.max()), len(factors)
    width, center = high - low, (high + low) / 2
    if center <= 0:
        return None
    evidence = -(count - 1) * math.log(width) - math.log(count * (count - 1))
    # The width of which the outermost of so many values are on average.
    half = width * (count + 1) / (count - 1) / 2
    return Shape(Uniform(half / math.sqrt(3) / center), center, evidence)


def _student_t(factors: Values, degrees_of: Values = DEGREES) -> Shape | None:
    """Center and width by expectation maximisation for all degrees of freedom at once; Kent, Tyler and Vardi (1994),
    Commun. Stat. Simul. Comput. 23:441."""
    middle = float(np.median(factors))
    typical = float(np.median(np.abs(factors - middle)))
    if not typical:
        return None  # most values are one and the same, about which the likelihood would rise without end
    degrees, count = degrees_of[:, None], len(factors)
    center, square = np.full((len(degrees_of), 1), middle), np.full((len(degrees_of), 1), (1.5 * typical) ** 2)
    for _ in range(STEPS):
        weights = (degrees + 1) / (degrees + (factors - center) ** 2 / square)
        whole = weights.sum(axis=1, keepdims=True)
        center = (weights * factors).sum(axis=1, keepdims=True) / whole
        square = (weights * (factors - center) ** 2).sum(axis=1, keepdims=True) / whole
    tails = np.log1p((factors - center) ** 2 / (degrees * square)).sum(axis=1) * (degrees_of + 1) / 2
    each = (
        special.gammaln((degrees_of + 1) / 2)
        - special.gammaln(degrees_of / 2)
        - np.log(degrees_of * np.pi * square[:, 0]) / 2
    )
    likelihoods = count * each - tails
    # Laplace's integral over center and logarithm of the width, by the Fisher information of each value.
    information = (degrees_of + 1) / (degrees_of + 3) / square[:, 0] * (2 * degrees_of / (degrees_of + 3)) * count**2
    evidences = likelihoods + math.log(2 * math.pi) - np.log(information) / 2
    weights = np.exp(evidences - evidences.max())
    # The degrees of freedom in the middle of what the factors allow, on the scale of 1 / degrees.
    held = float((weights / degrees_of).sum() / weights.sum())
    best = int(np.abs(1 / degrees_of - held).argmin())
    middle, sigma = float(center[best, 0]), math.sqrt(square[best, 0] * degrees_of[best] / (degrees_of[best] - 2))
    if middle <= 0:
        return None
    return Shape(StudentT(sigma / middle, float(degrees_of[best])), middle, _mean_of_logs(evidences))


def _truncated_gaussian(factors: Values, cuts: Values = CUTS) -> Shape | None:
    """The integral over widths is an incomplete gamma function, that over centers a sum; both for each cut."""
    count, mean, variance = len(factors), float(factors.mean()), float(factors.var())
    low, high = float(factors.min()), float(factors.max())
    reach = (high - low) * np.geomspace(1e-3 / count, 1, 400)
    usual = 8 * math.sqrt(variance / count) * np.linspace(-1, 1, 401)
    centers = np.unique(np.concatenate([(low + high) / 2 + reach, (low + high) / 2 - reach, mean + usual]))
    farthest = np.maximum(high - centers, centers - low)
    squares = count * (variance + (mean - centers) ** 2)
    evidences, best = [], []
    for cut in cuts:
        # The width is at least farthest / cut: the incomplete integral over 1 / width^2.
        inside = special.gammainc(count / 2, squares * (cut / farthest) ** 2 / 2)
        with np.errstate(divide="ignore"):
            logs = np.log(inside) + math.lgamma(count / 2) - math.log(2) - count / 2 * np.log(squares / 2)
        logs -= count * (0.5 * math.log(2 * math.pi) + math.log(math.erf(cut / math.sqrt(2))))
        top = float(logs.max())
        if not math.isfinite(top):
            evidences.append(-math.inf)
            best.append(mean)
            continue
        weights = np.exp(logs - top)
        evidences.append(top + math.log(np.trapezoid(weights, centers)))
        best.append(float((weights * np.gradient(centers) * centers).sum() / (weights * np.gradient(centers)).sum()))
    place = int(np.argmax(evidences))
    cut, center = float(cuts[place]), best[place]
    if center <= 0:
        return None
    # The standard deviation of a standard normal number between -cut and cut, and the width that gives the factors'.
    edge = math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi)
    inner = math.sqrt(1 - 2 * cut * edge / math.erf(cut / math.sqrt(2)))
    sigma = float(factors.std(ddof=1))
    clip = max(cut / inner, (max(high - center, center - low)) / sigma)
    return Shape(TruncatedGaussian(sigma / center, clip), center, _mean_of_logs(np.array(evidences)))


def _mean_of_logs(logs: Values) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean())) if math.isfinite(top) else top


def refitted(shape: Shape, factors: Values) -> Shape | None:
    """The same distribution fitted to other factors, with its degrees of freedom, or the place of its cut, kept; None
    where it cannot have given them."""
    try:
        if isinstance(shape.deviation, StudentT):
            return _student_t(factors, np.array([shape.deviation.degrees]))
        if isinstance(shape.deviation, TruncatedGaussian):
            return _truncated_gaussian(factors, np.array([shape.deviation.distribution().args[1]]))
        return {Gaussian: _gaussian, LogNormal: _log_normal, Uniform: _uniform}[type(shape.deviation)](factors)
    except StrengthError:
        return None
