"""How the spread depends on the value that a device is set to."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ._alike import Values
from ._shapes import normal_evidence

LEAST_SPREAD = 1e-3
"""The least that a fitted p may be between and beyond the set values; at the largest it is 1."""


@dataclass(frozen=True)
class SpreadLaw:
    """A standard deviation that depends on the set value: `width * p(a)`, a the set value over the largest one.

    Attributes:
        kind: "relative", p(a) = a; "additive", p(a) = 1; or "programming", p(a) a polynomial.
        coefficients: the coefficients (c0, c1, ...) of p.
        offset: whether the mean has an offset beside its gain.
        evidence: the logarithm of the probability of measured / nominal, averaged over gains, offsets and widths.
    """

    kind: str
    coefficients: tuple[float, ...]
    offset: bool = False
    evidence: float = 0.0

    def at(self, fraction: Values) -> Values:
        """p at set values that are fractions of the largest one; of a polynomial, not below 0.001."""
        spread = np.polynomial.polynomial.polyval(fraction, self.coefficients)
        return np.maximum(spread, LEAST_SPREAD) if self.kind == "programming" else spread


RELATIVE, ADDITIVE = SpreadLaw("relative", (0.0, 1.0)), SpreadLaw("additive", (1.0,))


def spread_laws(fraction: Values, value: Values, mean: bool = True) -> list[SpreadLaw]:
    """The laws by which a spread may depend on the set value, with the evidence for each.

    Values are normal about `gain * a`, or about `gain * a + offset`, and of the standard deviation `width * p(a)`. The
    evidence is comparable with that of `shapes` for value / a, whose Gaussian is the relative law without an offset. A
    coefficient of p that is fitted costs half the logarithm of the number of values.

    Args:
        fraction: the set value of each over the largest one, above 0, shape (values,).
        value: what was measured over the largest set value, shape (values,).
        mean: whether values have a mean; False for deviations about one.
    """
    set_values, place = np.unique(np.round(fraction, 9), return_inverse=True)
    place = place.ravel()
    counts = np.bincount(place)
    means = np.bincount(place, value) / counts
    within = np.bincount(place, (value - means[place]) ** 2)
    laws: list[SpreadLaw] = []
    for offset in (False, True) if mean and len(set_values) > 1 else (False,):

        def evidence(spread: Values, offset: bool = offset) -> float:
            columns = np.stack([set_values, np.ones(len(set_values))], axis=1)[:, : (1 + offset) if mean else 0]
            weight = np.sqrt(counts)
            basis, inside = np.linalg.qr(columns * (weight / spread)[:, None])
            left = means * weight / spread
            squares = float((within / spread**2).sum() + (left**2).sum() - ((basis.T @ left) ** 2).sum())
            with np.errstate(divide="ignore"):
                determinant = 2 * float(np.log(np.abs(np.diag(inside))).sum())
            found = normal_evidence(squares, int(counts.sum()), columns.shape[1], determinant)
            return found + float((counts * np.log(set_values / spread)).sum())

        laws += [
            SpreadLaw(law.kind, law.coefficients, offset, evidence(law.at(set_values))) for law in (RELATIVE, ADDITIVE)
        ]
        for degree in range(1, min(3, len(set_values))):
            found = _polynomial(set_values, degree, evidence)
            if found is not None:
                coefficients, height = found
                cost = degree / 2 * math.log(counts.sum())
                laws.append(SpreadLaw("programming", coefficients, offset, height - cost))
    return laws


def _polynomial(
    set_values: Values, degree: int, evidence: Callable[[Values], float]
) -> tuple[tuple[float, ...], float] | None:
    """The polynomial of most evidence, 1 at the largest set value: it goes through its logarithms at a few places."""
    from scipy import optimize

    nodes = np.linspace(set_values[0], 1, degree + 1)

    def through(logs: Values) -> Values:
        heights = np.exp(np.append(logs, 0.0))
        return np.polynomial.polynomial.polyfit(nodes, heights, degree)

    def cost(logs: Values) -> float:
        if np.abs(logs).max() > 12:
            return math.inf
        spread = np.polynomial.polynomial.polyval(set_values, through(logs))
        return -evidence(spread) if spread.min() > 0 else math.inf

    starts: Sequence[Values] = (np.zeros(degree), np.log(nodes[:-1] + 1e-3))
    options = {"xatol": 1e-4, "fatol": 1e-4}
    found = min(
        (optimize.minimize(cost, start, method="Nelder-Mead", options=options) for start in starts), key=lambda r: r.fun
    )
    if not math.isfinite(found.fun):
        return None
    return tuple(map(float, through(found.x))), -float(found.fun)
