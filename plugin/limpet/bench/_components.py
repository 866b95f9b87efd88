"""Components of the spread: how much of it chips, cores and neurons bring, by restricted maximum likelihood."""

import math
import warnings
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limpet import LimpetError

from ._nested import Nested

CONFIDENCE = 0.95
AT_ZERO = 1e-3
"""A variance below this fraction of the whole, whose interval reaches 0, is the optimizer's 0."""


@dataclass(frozen=True)
class Component:
    """How much one level brings to the spread.

    Attributes:
        level: "chip" (what all devices of a chip have in common), "core" (what those of a core have in common beyond
            that) or "neuron" (what is left).
        sigma: relative standard deviation; NaN where these measurements cannot tell.
        low: the lower end of the 95% interval of sigma.
        high: the upper end of that interval.
        note: why it cannot be told, or that the estimate is at the boundary 0; else empty.
    """

    level: str
    sigma: float
    low: float
    high: float
    note: str = ""

    @property
    def told(self) -> bool:
        """Whether these measurements tell it."""
        return not math.isnan(self.sigma)

    def __str__(self) -> str:
        if not self.told:
            return f"not told: {self.note}"
        return f"{self.sigma:.3g} ({self.low:.3g} to {self.high:.3g}){', at the boundary 0' if self.note else ''}"


def components(
    factors: NDArray[np.float64], chips: NDArray[np.str_], cores: NDArray[np.str_], *, center: float, logarithms: bool
) -> tuple[Component, ...]:
    """The components of the spread of measured / nominal.

    The model is `center + chip + core + neuron`, of the factors or of their logarithms, each a normal number of its
    level's own variance. Estimates are by restricted maximum likelihood (statsmodels' MixedLM), which balanced and
    unbalanced benches share. Intervals are the modified large-sample ones of the mean squares, see `Combination`; the
    degrees of freedom of the lowest level are reduced where its tails are heavier than normal ones, because its mean
    square then varies more; see `kurtosis`.

    Args:
        factors: the ratios measured / nominal, shape (values,).
        chips: name of the chip of each.
        cores: name of the core within the chip of each.
        center: what sigmas are relative to; of logarithms it has no effect.
        logarithms: whether the model is of the factors' logarithms, as for log-normal ones.

    Returns:
        A component for each of the levels chip, core and neuron.

    Raises:
        LimpetError: statsmodels is not installed.
    """
    values = np.log(factors) if logarithms else factors / center
    nested = Nested.of(values, chips, cores)
    variances, intervals = reml(nested), nested.combinations()
    notes = _untold(nested)
    whole = sum(variances.values())
    found = []
    for level in ("chip", "core", "neuron"):
        if level not in variances:
            found.append(Component(level, math.nan, math.nan, math.nan, notes[level]))
            continue
        variance = variances[level]
        low, high = intervals[level].interval(CONFIDENCE)
        at_zero = low <= 0 and variance < AT_ZERO * whole
        variance = 0.0 if at_zero else variance
        sigma, low, high = (_sigma(value, logarithms) for value in (variance, min(low, variance), max(high, variance)))
        found.append(Component(level, sigma, low, high, "at the boundary 0" if at_zero else ""))
    return tuple(found)


def reml(nested: Nested) -> dict[str, float]:
    """The variance of each level that can be told apart, by restricted maximum likelihood.

    Where statsmodels finds no maximum, which happens where a variance is 0, the maximum lies at that boundary: it is
    that of a model without the level.

    Raises:
        LimpetError: statsmodels is not installed.
    """
    levels = nested.levels
    upper = levels[:-1]
    nothing = dict.fromkeys(levels, 0.0)
    for count in range(len(upper), 0, -1):
        fits = [fit for kept in combinations(upper, count) if (fit := _mixed_model(nested, kept)) is not None]
        if fits:
            return nothing | max(fits, key=lambda fit: fit[0])[1]
    return nothing | {"neuron": float(nested.values.var(ddof=1))}


def _mixed_model(nested: Nested, upper: tuple[str, ...]) -> tuple[float, dict[str, float]] | None:
    """Likelihood and variances of a model with some of the levels above the neuron; None where there is no maximum."""
    mixed_linear_model = _statsmodels()
    spread = nested.values.std()
    highest = nested.chip if upper[0] == "chip" else nested.core
    order = np.argsort(highest, kind="stable")
    scaled, ones = (nested.values[order] - nested.values.mean()) / spread, np.ones((len(order), 1))
    arguments: dict[str, Any] = {"groups": highest[order], "exog_re": ones}
    if len(upper) == 2:
        numbers = [nested.core[order][nested.chip[order] == chip] for chip in range(int(nested.chip.max()) + 1)]
        own = [np.unique(cores) for cores in numbers]
        matrices = [(cores[:, None] == names).astype(float) for cores, names in zip(numbers, own, strict=True)]
        arguments["exog_vc"] = mixed_linear_model.VCSpec(
            ["core"], [[list(map(str, names)) for names in own]], [matrices]
        )
    model = mixed_linear_model.MixedLM(scaled, ones, **arguments)
    with warnings.catch_warnings():
        # Near a boundary it warns of a matrix that is singular there; which variance is 0 is said by its estimate.
        warnings.simplefilter("ignore")
        for method in (["lbfgs"], ["powell", "lbfgs"]):
            try:
                fit = model.fit(reml=True, method=method)
            except np.linalg.LinAlgError:
                continue
            if fit.converged:
                estimates = [float(fit.cov_re[0, 0]), *map(float, np.atleast_1d(fit.vcomp)), float(fit.scale)]
                variances = zip((*upper, "neuron"), estimates, strict=True)
                return float(fit.llf), {level: max(estimate, 0.0) * spread**2 for level, estimate in variances}
    return None


def _statsmodels():
    try:
        from statsmodels.regression import mixed_linear_model
    except ImportError:
        raise LimpetError(
            "to tell chips from cores and neurons, install statsmodels: python -m pip install 'limpet[bench]'"
        ) from None
    return mixed_linear_model


def _untold(nested: Nested) -> dict[str, str]:
    """Why each level that cannot be told apart cannot be."""
    chips, cores = int(nested.chip.max()) + 1, int(nested.core.max()) + 1
    of_chip = "there is one chip alone" if chips == 1 else "each chip has one value"
    if cores == len(nested.values):
        of_core = "each core has one value, so that the neuron's holds it"
    elif cores == chips:
        of_core = "each chip has one core, so that the chip's holds it" if chips > 1 else "there is one core alone"
    else:
        of_core = "cores and chips cannot be told apart"
    return {"chip": of_chip, "core": of_core}


def _sigma(variance: float, logarithms: bool) -> float:
    variance = max(variance, 0.0)
    return math.sqrt(math.expm1(variance) if logarithms else variance)
