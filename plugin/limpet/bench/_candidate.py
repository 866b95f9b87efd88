"""Distributions fitted to measured / nominal by maximum likelihood, and which of them fits best."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limpet import Deviation, Gaussian, LogNormal, StrengthError, StudentT, TruncatedGaussian, Uniform
from limpet.deviations import kind_of

Factors = NDArray[np.float64]
CLOSE = 2.0
"""Distributions whose AIC differs by less than this are supported alike: the one of fewest parameters is taken."""
FITTED_END = 8.0
"""A truncated Gaussian is taken only where its AIC is lower by more than this. AIC's theory does not hold for an end
that is fitted: cut at the outermost value, a Gaussian's log-likelihood gains more than 1 by chance in 37% of benches,
and more than 5 in 0.7%."""
FEWEST_DEGREES, MOST_DEGREES = 2.1, 200.0
"""Of Student's distribution: it has no standard deviation at 2, and is a Gaussian beyond 200."""
NARROWEST_CUT, WIDEST_CUT = 0.3, 6.0
"""Of the truncated Gaussian, in standard deviations of the Gaussian that is cut: a uniform distribution, and no cut."""


@dataclass(frozen=True)
class Candidate:
    """One distribution, fitted: factors are `center` times what the deviation makes of 1.

    Attributes:
        deviation: the fitted deviation, relative to the center.
        center: the mean factor (of a log-normal, the median): what all devices have in common, 1 for a bench on which
            nominal values are met on average.
        parameters: how many numbers were fitted, the center among them.
        log_likelihood: the log-likelihood of all factors under the fitted distribution.
    """

    deviation: Deviation
    center: float
    parameters: int
    log_likelihood: float

    @property
    def kind(self) -> str:
        """The name of the deviation."""
        return kind_of(self.deviation)

    @property
    def rounded(self) -> Deviation:
        """The deviation with its parameters to four digits: more than measurements can tell."""
        exact = {field.name: getattr(self.deviation, field.name) for field in fields(self.deviation)}  # pyright: ignore[reportArgumentType]
        digits = {name: float(f"{value:.4g}") for name, value in exact.items() if isinstance(value, float)}
        return replace(self.deviation, **digits)  # pyright: ignore[reportArgumentType]

    @property
    def aic(self) -> float:
        """Akaike's information criterion, `2 parameters - 2 log-likelihood`: the lower, the better."""
        return 2 * self.parameters - 2 * self.log_likelihood

    def density(self, factors: Factors) -> Factors:
        """The fitted density."""
        return self.deviation.distribution().pdf(factors / self.center) / self.center

    def cumulative(self, factors: Factors) -> Factors:
        """The fitted distribution function."""
        return self.deviation.distribution().cdf(factors / self.center)

    def quantiles(self, probabilities: Factors) -> Factors:
        """The fitted quantiles."""
        return self.center * self.deviation.distribution().ppf(probabilities)

    def distance(self, factors: Factors) -> float:
        """The Kolmogorov-Smirnov distance: the largest one between the fitted and the measured distribution."""
        expected, count = self.cumulative(np.sort(factors)), len(factors)
        ranks = np.arange(count + 1) / count
        return float(max((ranks[1:] - expected).max(), (expected - ranks[:-1]).max()))


def candidates(factors: Factors) -> tuple[Candidate, ...]:
    """Every distribution fitted to some factors, the lowest AIC first; those that cannot be are left out.

    Args:
        factors: measured / nominal, shape (values,), not all equal and of a mean above 0.
    """
    fitted = [fit(factors) for fit in FITS.values()]
    return tuple(sorted((fit for fit in fitted if fit is not None), key=lambda fit: fit.aic))


def best_of(fitted: Sequence[Candidate]) -> Candidate:
    """The fitted distribution to take: of those within 2 of the lowest AIC, the one of fewest parameters; a truncated
    Gaussian only where it is lower than all others by more than 8."""
    without_end = [fit for fit in fitted if not isinstance(fit.deviation, TruncatedGaussian)]
    lowest = min(fit.aic for fit in without_end)
    cut = [fit for fit in fitted if fit not in without_end and fit.aic < lowest - FITTED_END]
    close = [fit for fit in without_end if fit.aic < lowest + CLOSE]
    return cut[0] if cut else min(close, key=lambda fit: (fit.parameters, fit.aic))


def _gaussian(factors: Factors) -> Candidate | None:
    center, spread = float(factors.mean()), float(factors.std())
    return Candidate(Gaussian(spread / center), center, 2, _normal_likelihood(len(factors), spread))


def _normal_likelihood(count: int, spread: float) -> float:
    return -count * (math.log(spread) + 0.5 * math.log(2 * math.pi) + 0.5)


def _log_normal(factors: Factors) -> Candidate | None:
    if factors.min() <= 0:
        return None
    logs = np.log(factors)
    center, spread = float(logs.mean()), float(logs.std())
    likelihood = _normal_likelihood(len(factors), spread) - float(logs.sum())
    try:
        return Candidate(LogNormal(sigma_ln=spread), math.exp(center), 2, likelihood)
    except StrengthError:  # so wide that no float32 would hold what it draws
        return None


def _uniform(factors: Factors) -> Candidate | None:
    low, high = float(factors.min()), float(factors.max())
    center = (low + high) / 2
    if center <= 0:
        return None
    likelihood = -len(factors) * math.log(high - low)
    return Candidate(Uniform((high - low) / 2 / math.sqrt(3) / center), center, 2, likelihood)


def _truncated_gaussian(factors: Factors, cuts: Sequence[float] = (1.0, 3.0)) -> Candidate | None:
    """The cut lies at the value that is farthest from the center: what remains to be fitted are center and cut."""
    from scipy import optimize, special

    count, mean, variance = len(factors), float(factors.mean()), float(factors.var())
    low, high = float(factors.min()), float(factors.max())

    def scale_at(center: float, cut: float) -> float:
        return max(high - center, center - low) / cut

    def cost(point: Factors) -> float:
        center, cut = mean + point[0] * math.sqrt(variance), point[1]
        if not NARROWEST_CUT <= cut <= WIDEST_CUT:
            return math.inf
        scale = scale_at(center, cut)
        squares = count * (variance + (mean - center) ** 2)
        inside = math.erf(cut / math.sqrt(2))
        return count * (math.log(scale) + math.log(inside) + 0.5 * math.log(2 * math.pi)) + squares / (2 * scale**2)

    middle = ((low + high) / 2 - mean) / math.sqrt(variance)
    found = min(
        (
            optimize.minimize(cost, [start, cut], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-7})
            for start in (0.0, middle)
            for cut in cuts
        ),
        key=lambda result: result.fun,
    )
    center, cut = mean + float(found.x[0]) * math.sqrt(variance), float(found.x[1])
    if center <= 0:
        return None
    # The standard deviation of a standard normal number between -cut and cut.
    edge = math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi)
    spread = math.sqrt(1 - 2 * cut * edge / float(special.erf(cut / math.sqrt(2))))
    deviation = TruncatedGaussian(scale_at(center, cut) * spread / center, max(cut / spread, math.sqrt(3) * 1.0001))
    return Candidate(deviation, center, 3, -float(found.fun))


def _student_t(factors: Factors, degrees: float | None = None) -> Candidate | None:
    """Center and scale by expectation maximisation for given degrees of freedom, and those by a search over them."""
    from scipy import optimize

    if not np.median(np.abs(factors - np.median(factors))):
        return None  # most values are one and the same, about which the likelihood would rise without end
    if degrees is None:
        limits = (math.log(FEWEST_DEGREES - 2), math.log(MOST_DEGREES - 2))
        search: Any = optimize.minimize_scalar(
            lambda excess: -_t_of_degrees(factors, 2 + math.exp(excess))[2], bounds=limits, method="bounded"
        )
        degrees = 2 + math.exp(float(search.x))
    center, scale, likelihood = _t_of_degrees(factors, degrees)
    if center <= 0:
        return None
    return Candidate(StudentT(scale * math.sqrt(degrees / (degrees - 2)) / center, degrees), center, 3, likelihood)


def _t_of_degrees(factors: Factors, degrees: float) -> tuple[float, float, float]:
    """Center, scale and log-likelihood of Student's distribution of some degrees of freedom.

    A value counts the less the farther it is off: Kent, Tyler and Vardi (1994), "A curious likelihood identity for the
    multivariate t-distribution", Commun. Stat. Simul. Comput. 23:441.
    """
    center, square = float(np.median(factors)), float(factors.var())
    for _ in range(200):
        weights = (degrees + 1) / (degrees + (factors - center) ** 2 / square)
        before, whole = (center, square), float(weights.sum())
        center = float((weights * factors).sum()) / whole
        square = float((weights * (factors - center) ** 2).sum()) / whole
        if abs(square / before[1] - 1) < 1e-8 and abs(center - before[0]) < 1e-6 * math.sqrt(square):
            break
    tails = float(np.log1p((factors - center) ** 2 / (degrees * square)).sum()) * (degrees + 1) / 2
    each = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi * square) / 2
    return center, math.sqrt(square), len(factors) * each - tails


FITS: dict[str, Callable[[Factors], Candidate | None]] = {
    "gaussian": _gaussian,
    "log-normal": _log_normal,
    "student-t": _student_t,
    "truncated-gaussian": _truncated_gaussian,
    "uniform": _uniform,
}
"""How each distribution is fitted: to factors of shape (values,); None where it cannot have given them."""


def refitted(fitted: Candidate, factors: Factors) -> Candidate | None:
    """The same distribution fitted to other factors; of Student's, the degrees of freedom stay as they are."""
    if isinstance(fitted.deviation, StudentT):
        return _student_t(factors, fitted.deviation.degrees)
    if isinstance(fitted.deviation, TruncatedGaussian):
        return _truncated_gaussian(factors, (fitted.deviation.distribution().args[1],))
    return FITS[fitted.kind](factors)
