"""Rare failures extrapolated from chips that deviate more: a cheap second opinion. NumPy and SciPy only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._checked import number
from .._errors import MetricError
from ._robustness_curve import RobustnessCurve
from ._yield import Yield, checked_confidence, checked_target

FEWEST_FAILING, LARGEST_SHARE = 10, 0.3
"""A strength tells something if so many of its chips fail; and the laws hold where failing is rare."""
FEWEST_STRENGTHS = 4
"""One more than a law has coefficients."""
RESAMPLES = 1000
POOR_FIT = 1e-3
WIDEST = 1e3
"""An interval whose ends are farther apart, as a ratio, says nothing."""
ALWAYS = -1e-3
"""The largest logarithm of a probability: a law that holds for small ones has no bound."""

Array = NDArray[np.float64]


class _Law(NamedTuple):
    """How the share of chips that fail depends on the strength, in the unit of the one that is extrapolated to.

    Attributes:
        terms: the terms of a linear predictor, shape (strengths, terms).
        share: the share of chips for a predictor.
        slope: its derivative.
        predictor: the predictor for a share.
    """

    terms: Callable[[Array], Array]
    share: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    predictor: Callable[[Array], Array]

    def fitted(self, ratios: Array, shares: Array) -> Array:
        """The coefficients of greatest binomial likelihood, by Newton's steps.

        Args:
            ratios: the strengths, shape (strengths,).
            shares: the shares of chips that fail, in each of some samples, shape (samples, strengths).

        Returns:
            The coefficients for each sample, shape (samples, terms).
        """
        basis, triangle = np.linalg.qr(self.terms(ratios))  # the terms themselves are nearly alike
        found = np.zeros((len(shares), basis.shape[1]))
        predictor = self.predictor(np.maximum(shares, shares[shares > 0].min() / 2))
        for _ in range(20):
            fitted, slope = self.share(predictor), self.slope(predictor)
            weight = slope**2 / (fitted * (1 - fitted))
            wanted = predictor + (shares - fitted) / slope
            curvature = np.einsum("ns,si,sj->nij", weight, basis, basis)
            found = np.linalg.solve(curvature, np.einsum("ns,si->ni", weight * wanted, basis)[..., None])[..., 0]
            predictor = found @ basis.T
        return np.asarray(np.linalg.solve(triangle, found.T).T, np.float64)

    def at(self, ratios: Array, coefficients: Array) -> Array:
        """The share of chips that fail at some strengths, shape (..., strengths)."""
        return self.share(coefficients @ self.terms(ratios).T)

    def falls(self, coefficients: Array) -> NDArray[np.bool_]:
        """Whether failures become rarer towards the strength that is extrapolated to, and still do there."""
        lower, there = np.moveaxis(self.at(np.array([0.99, 1.0]), coefficients), -1, 0)
        return np.isfinite(there) & (lower < there)

    def chance(self, ratios: Array, counts: NDArray[np.int64], chips: int, coefficients: Array) -> float:
        """The probability of counts farther from the law than these, by Pearson's test."""
        from scipy import stats

        expected = chips * self.at(ratios, coefficients)
        squares = (counts - expected) ** 2 / (expected * (1 - expected / chips))
        return float(stats.chi2.sf(squares.sum(), len(ratios) - len(coefficients)))


def _density(index: Array) -> Array:
    return np.exp(-(index**2) / 2) / np.sqrt(2 * np.pi)


def _laws() -> dict[str, _Law]:
    """The laws by name."""
    from scipy.special import ndtr, ndtri

    def power(predictor: Array) -> Array:
        return np.exp(np.minimum(predictor, ALWAYS))

    return {
        "a + b log s - c / s^2": _Law(
            lambda s: np.stack([np.ones_like(s), np.log(s), -1 / s**2], axis=-1), power, power, np.log
        ),
        "u / s + v s": _Law(
            lambda s: np.stack([1 / s, s], axis=-1),
            lambda index: ndtr(-index),
            lambda index: -_density(index),
            lambda share: -ndtri(share),
        ),
    }


@dataclass(frozen=True, eq=False, repr=False)
class ScaledSigma:
    """The probability of failure that `limpet.scaled_sigma` extrapolates; prints as a table of what it was fitted to.

    Attributes:
        metric: the name of the metric.
        target: the value that a chip is to reach.
        to: the strength for which the probability is.
        axis: the quantity that strengths are, see `limpet.RobustnessCurve`.
        strengths: the strengths that laws were fitted to, shape (strengths,).
        failing: the number of chips at each of them that miss the target.
        chips: the number of chips at each.
        laws: the probability of failure by each law that fits.
        fitted: the share of chips that fail at each strength, by each of these laws.
        resampled: the probability of failure of each resample of the chips, by each of these laws.
    """

    metric: str
    target: float
    to: float
    axis: str
    strengths: Array
    failing: NDArray[np.int64]
    chips: int
    laws: dict[str, float]
    fitted: dict[str, Array]
    resampled: dict[str, Array]

    @property
    def failure(self) -> float:
        """The probability that a chip misses the target at the strength `to`: the geometric mean of the laws'."""
        return float(np.exp(np.mean(np.log(list(self.laws.values())))))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Where that probability lies if one of the laws holds: from the lowest to the highest end of their intervals.

        Each is that of resampled chips, percentiles of the bootstrap.

        Raises:
            MetricError: `confidence` is no number between 0 and 1.
        """
        tail = (1 - checked_confidence(confidence)) / 2
        ends = np.array([np.quantile(drawn, [tail, 1 - tail]) for drawn in self.resampled.values()])
        return float(ends[:, 0].min()), float(ends[:, 1].max())

    def yield_at(self, confidence: float = 0.95) -> Yield:
        """The fraction of chips that reach the target, with its interval."""
        low, high = self.interval(confidence)
        return Yield(1 - self.failure, 1 - high, 1 - low, confidence)

    def __str__(self) -> str:
        low, high = self.interval()
        lines = [
            f"{self.metric} misses {self.target:g} at {self.axis} {self.to:g}: {self.failure:.2g} of all chips "
            f"({low:.2g} to {high:.2g}), if one of the laws holds",
            f"{self.axis:>8}  {'fail':>8}" + "".join(f"  {name:>21}" for name in self.laws),
        ]
        rows = [(f"{self.to:8.4g}", f"{'':>8}", [self.laws[name] for name in self.laws])]
        rows += [
            (f"{strength:8.4g}", f"{count / self.chips:8.3g}", [self.fitted[name][row] for name in self.laws])
            for row, (strength, count) in enumerate(zip(self.strengths, self.failing, strict=True))
        ]
        lines += [f"{place}  {seen}" + "".join(f"  {share:21.3g}" for share in shares) for place, seen, shares in rows]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"ScaledSigma({self.metric!r}, {self.axis} {self.to:g}, failure {self.failure:.3g})"


def scaled_sigma(curve: RobustnessCurve, target: float, to: float) -> ScaledSigma:
    """Extrapolate a rare failure from a curve over larger strengths, where chips fail more often.

    Two laws say how the share P of chips that fail depends on the strength s where it is small, and each is fitted to
    the strengths at which at least 10 chips and at most 30% fail:

    - `log P(s) = a + b log s - c / s^2`, the probability of Gaussian numbers far from where they fail: S. Sun, X. Li,
      H. Liu, K. Luo and B. Gu (2015), "Fast statistical analysis of rare circuit failure events via scaled-sigma
      sampling for high-dimensional variation space", IEEE TCAD 34:1096;
    - `P(s) = Phi(-u / s - v s)`, exact for a linear boundary: C. Bucher (2009), "Asymptotic sampling for
      high-dimensional reliability analysis", Probab. Eng. Mech. 24:504.

    Coefficients are those of the greatest binomial likelihood. Chips are resampled for the intervals, because they are
    the same at each strength. A law that does not fit is left out.

    It costs no chip beyond those of the curve, and asks nothing of the metric; but laws are no measurement. Of
    networks, where all gets worse with the strength and not only the spread, both may be off by a factor of two from
    strengths near by, and of ten from twice the strength; where something else fails at large strengths than at small
    ones, without limit. `limpet.tail_yield` measures what this extrapolates.

    Args:
        curve: a curve over sigma or scale, of independent chips: some thousand of them, at five strengths or more.
        target: the value that a chip is to reach.
        to: the strength for which the probability of failure is wanted, below those at which chips fail.

    Raises:
        MetricError: an argument is none of these; or the curve cannot tell: fewer than four strengths at which enough
            chips fail, no law that fits them, failures that do not become rarer towards `to`, or an interval of a
            factor of more than 1,000.

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
    strengths, row = np.unique(curve.sigmas, return_index=True)
    fails = ~curve.reaches(target)[row]
    counts = fails.sum(axis=1)
    kept = (counts >= FEWEST_FAILING) & (counts <= LARGEST_SHARE * curve.chips) & (strengths > 0)
    if kept.sum() < FEWEST_STRENGTHS:
        seen = ", ".join(f"{count} of {curve.chips} at {at:g}" for count, at in zip(counts, strengths, strict=True))
        raise MetricError(
            f"curve: at {kept.sum()} of its strengths at least {FEWEST_FAILING} chips and at most {LARGEST_SHARE:.0%} "
            f"miss {target:g} ({seen}), and {FEWEST_STRENGTHS} such strengths are needed: measure more chips, or "
            f"strengths between"
        )
    if to > strengths[kept].max():
        raise MetricError(f"to = {to:g}: it lies above the strengths measured; curve.yield_at tells what is seen there")
    ratios, resampled = strengths[kept] / to, _resampled(fails[kept])
    laws: dict[str, float] = {}
    fitted: dict[str, Array] = {}
    drawn: dict[str, Array] = {}
    fit = 0.0
    for name, law in _laws().items():
        coefficients = law.fitted(ratios, counts[None, kept] / curve.chips)[0]
        fit = max(fit, chance := law.chance(ratios, counts[kept], curve.chips, coefficients))
        if chance < POOR_FIT:
            continue
        of_resampled = law.fitted(ratios, resampled)
        if not law.falls(coefficients) or law.falls(of_resampled).mean() < 0.975:
            raise MetricError(
                f"curve: it cannot tell whether failures become rarer towards {to:g}: measure more chips, or strengths "
                f"nearer to it"
            )
        laws[name] = float(law.at(np.ones(1), coefficients)[0])
        fitted[name], drawn[name] = law.at(ratios, coefficients), law.at(np.ones(1), of_resampled)[:, 0]
    if not laws:
        raise MetricError(
            f"curve: no law fits how many chips miss {target:g} at its strengths (p = {fit:.1g}): something else fails "
            f"at large strengths than at small ones; take limpet.tail_yield"
        )
    found = ScaledSigma(
        curve.metric, target, to, curve.axis, strengths[kept], counts[kept], curve.chips, laws, fitted, drawn
    )
    low, high = found.interval()
    if high > WIDEST * low:
        raise MetricError(
            f"curve: the probability at {to:g} lies between {low:.1g} and {high:.1g}, which says nothing: measure more "
            f"chips, or strengths nearer to it; or take limpet.tail_yield"
        )
    return found


def _resampled(fails: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Shares of failing chips in samples of as many chips, drawn with replacement; chips that fail alike are one."""
    packed = np.ascontiguousarray(np.packbits(fails, axis=0).T)
    codes = packed.view(f"S{packed.shape[1]}")[:, 0]  # a text for each chip, which sorts a hundred times faster
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(len(codes), counts / len(codes), size=RESAMPLES)
    return drawn @ fails[:, first].T / len(codes)
