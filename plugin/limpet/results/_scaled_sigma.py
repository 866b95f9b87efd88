"""Rare failures extrapolated from chips that deviate more: a cheap second opinion. NumPy and SciPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._checked import number
from .._errors import MetricError
from ._robustness_curve import RobustnessCurve
from ._yield import Yield, checked_confidence, checked_target

FEWEST_FAILING, LARGEST_SHARE = 10, 0.3
"""A strength tells something if so many of its chips fail; and the law holds where failing is rare."""
FEWEST_STRENGTHS = 4
"""One more than the law has coefficients."""
RESAMPLES = 1000
POOR_FIT = 1e-3
ALWAYS = -1e-3
"""The largest logarithm of a probability: the law, which holds for small ones, has no bound."""
WIDEST = 1e3
"""An interval whose ends are farther apart, as a ratio, says nothing."""


@dataclass(frozen=True, eq=False, repr=False)
class ScaledSigma:
    """The probability of failure that `limpet.scaled_sigma` extrapolates; prints as a table of what it was fitted to.

    Attributes:
        metric: the name of the metric.
        target: the value that a chip is to reach.
        to: the strength for which the probability is.
        axis: what strengths are, see `limpet.RobustnessCurve`.
        strengths: the strengths that the law was fitted to, shape (strengths,).
        failing: the number of chips at each of them that miss the target.
        chips: the number of chips at each.
        coefficients: the coefficients a, b and c of the law, for strengths in the unit `to`.
        resampled: the logarithm of the probability of failure of each resample of the chips.
    """

    metric: str
    target: float
    to: float
    axis: str
    strengths: NDArray[np.float64]
    failing: NDArray[np.int64]
    chips: int
    coefficients: tuple[float, float, float]
    resampled: NDArray[np.float64]

    @property
    def failure(self) -> float:
        """The probability that a chip misses the target at the strength `to`."""
        return float(self._law(np.array([self.to]))[0])

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Where that probability lies if the law holds, by resampling chips: percentiles of the bootstrap.

        It says nothing of how far the law is off, see `limpet.scaled_sigma`.

        Raises:
            MetricError: `confidence` is no number between 0 and 1.
        """
        tail = (1 - checked_confidence(confidence)) / 2
        low, high = np.exp(np.quantile(self.resampled, [tail, 1 - tail]))
        return float(low), min(float(high), 1.0)

    def yield_at(self, confidence: float = 0.95) -> Yield:
        """The fraction of chips that reach the target, with its interval."""
        low, high = self.interval(confidence)
        return Yield(1 - self.failure, 1 - high, 1 - low, confidence)

    def _law(self, strengths: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(_logarithm(strengths / self.to, np.array(self.coefficients)))

    def __str__(self) -> str:
        low, high = self.interval()
        lines = [
            f"{self.metric} misses {self.target:g} at {self.axis} {self.to:g}: {self.failure:.2g} of all chips "
            f"({low:.2g} to {high:.2g}), if the law holds",
            f"{self.axis:>8}  {'fail':>8}  {'by the law':>10}",
        ]
        lines += [
            f"{strength:8.4g}  {count / self.chips:8.3g}  {fitted:10.3g}"
            for strength, count, fitted in zip(self.strengths, self.failing, self._law(self.strengths), strict=True)
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"ScaledSigma({self.metric!r}, {self.axis} {self.to:g}, failure {self.failure:.3g})"


def scaled_sigma(curve: RobustnessCurve, target: float, to: float) -> ScaledSigma:
    """Extrapolate a rare failure from a curve over larger strengths, where chips fail more often.

    At the strength s, the share of chips that fail follows `log P(s) = a + b log s - c / s^2` where it is small: the
    probability of a Gaussian far from a target, whose distance is measured in units of s, has that form. a, b and c are
    those of the greatest binomial likelihood over the strengths at which at least 10 chips and at most 30% fail; the
    interval is by resampling chips, which are the same at each strength. S. Sun, X. Li, H. Liu, K. Luo and B. Gu
    (2015), "Fast statistical analysis of rare circuit failure events via scaled-sigma sampling for high-dimensional
    variation space", IEEE TCAD 34:1096.

    It costs no chip beyond those of the curve, and asks nothing of the metric; but it believes in the law. For a linear
    boundary 3 to 4.3 sigma away the law is 10 to 25% too low; where something else fails at large strengths than at
    small ones it is wrong without limit. `limpet.tail_yield` measures what this extrapolates.

    Args:
        curve: a curve over sigma or scale, of independent chips: some thousand of them, at five strengths or more.
        target: the value that a chip is to reach.
        to: the strength for which the probability of failure is wanted, below those at which chips fail.

    Raises:
        MetricError: an argument is none of these; or the curve cannot tell: fewer than four strengths at which enough
            chips fail, a law that does not fit them, failures that do not become rarer towards `to`, or an interval of
            a factor of more than 1,000.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(100)}
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
        >>> def mean(tree, _):
        ...     return tree["w"].mean()
        >>> scales = [1.25, 1.5, 1.75, 2, 2.5, 3]
        >>> curve = limpet.robustness_curve(mean, params, mismatch, scales=scales, chips=10_000)
        >>> found = scaled_sigma(curve, target=0.969, to=0.1)  # 3.1 sigma away: 9.7e-4
        >>> low, high = found.interval()
        >>> low < 9.7e-4 < high
        True
    """
    target, to = checked_target(target), number("to", to, 0, above=True, error=MetricError)
    if curve.axis == "time":
        raise MetricError("curve: it goes over time; chips that deviate more are needed, a curve over sigmas or scales")
    if curve.antithetic:
        raise MetricError("curve: its chips are antithetic, and cannot be resampled one by one; measure without")
    fails = ~curve.reaches(target)
    strengths, row = np.unique(curve.sigmas, return_index=True)
    fails = fails[row]
    counts = fails.sum(axis=1)
    kept = (counts >= FEWEST_FAILING) & (counts <= LARGEST_SHARE * curve.chips) & (strengths > 0)
    if kept.sum() < FEWEST_STRENGTHS:
        seen = ", ".join(f"{counts[i]} of {curve.chips} at {strengths[i]:g}" for i in range(len(strengths)))
        raise MetricError(
            f"curve: at {kept.sum()} of its strengths at least {FEWEST_FAILING} chips and at most {LARGEST_SHARE:.0%} "
            f"miss {target:g} ({seen}), and {FEWEST_STRENGTHS} such strengths are needed: measure more chips, or "
            f"strengths between"
        )
    if to > strengths[kept].max():
        raise MetricError(f"to = {to:g}: it lies above the strengths measured; curve.yield_at tells what is seen there")
    ratios = strengths[kept] / to
    coefficients = _fitted(ratios, counts[None, kept] / curve.chips)[0]
    if (chance := _chance(ratios, counts[kept], curve.chips, coefficients)) < POOR_FIT:
        raise MetricError(
            f"curve: the law does not fit how many chips miss {target:g} at its strengths (p = {chance:.1g}): "
            f"something else fails at large strengths than at small ones; take limpet.tail_yield"
        )
    resampled = _fitted(ratios, _resampled(fails[kept]))
    logarithms = _logarithm(np.ones(1), resampled)[:, 0]
    slopes = np.concatenate([coefficients[None], resampled]) @ [0, 1, 2]  # of log P over log s, at `to`
    if slopes[0] <= 0 or (slopes <= 0).mean() > 0.025:
        raise MetricError(
            f"curve: it cannot tell whether failures become rarer towards {to:g}: measure more chips, or strengths "
            f"nearer to it"
        )
    a, b, c = coefficients.tolist()
    found = ScaledSigma(
        curve.metric, target, to, curve.axis, strengths[kept], counts[kept], curve.chips, (a, b, c), logarithms
    )
    low, high = found.interval()
    if high > WIDEST * low:
        raise MetricError(
            f"curve: the probability at {to:g} lies between {low:.1g} and {high:.1g}, which says nothing: measure more "
            f"chips, or strengths nearer to it; or take limpet.tail_yield"
        )
    return found


def _fitted(ratios: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The coefficients of greatest binomial likelihood, by Newton's steps.

    Args:
        ratios: the strengths in the unit of the one that is extrapolated to, shape (strengths,).
        shares: the shares of chips that fail, in each of some samples, shape (samples, strengths).

    Returns:
        a, b and c for each sample, shape (samples, 3).
    """
    basis, triangle = np.linalg.qr(_terms(ratios))  # the terms themselves are nearly alike
    found, logarithm = np.zeros((len(shares), 3)), np.log(np.maximum(shares, shares[shares > 0].min() / 2))
    for _ in range(20):
        fitted = np.exp(np.minimum(logarithm, ALWAYS))
        weight = fitted / (1 - fitted)
        wanted = np.log(fitted) + (shares - fitted) / fitted
        curvature = np.einsum("ns,si,sj->nij", weight, basis, basis)
        found = np.linalg.solve(curvature, np.einsum("ns,si->ni", weight * wanted, basis)[..., None])[..., 0]
        logarithm = found @ basis.T
    return np.asarray(np.linalg.solve(triangle, found.T).T, np.float64)


def _chance(
    ratios: NDArray[np.float64], counts: NDArray[np.int64], chips: int, coefficients: NDArray[np.float64]
) -> float:
    """The probability of counts farther from the law than these, by Pearson's test."""
    from scipy import stats

    expected = chips * np.exp(_logarithm(ratios, coefficients))
    squares = (counts - expected) ** 2 / (expected * (1 - expected / chips))
    return float(stats.chi2.sf(squares.sum(), len(ratios) - 3))


def _terms(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.ones_like(ratios), np.log(ratios), -1 / ratios**2], axis=-1)


def _logarithm(ratios: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of the probability of failure by the law, shape (..., strengths)."""
    return np.minimum(coefficients @ _terms(ratios).T, ALWAYS)


def _resampled(fails: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Shares of failing chips in samples of as many chips, drawn with replacement; chips that fail alike are one."""
    patterns, counts = np.unique(fails, axis=1, return_counts=True)
    chips = fails.shape[1]
    drawn = np.random.default_rng(0).multinomial(chips, counts / chips, size=RESAMPLES)
    return drawn @ patterns.T / chips
