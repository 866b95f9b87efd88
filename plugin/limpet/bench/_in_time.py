"""How values change after devices were set: not at all, by drift, or by relaxation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limpet import Deviation, Drift, Relaxation

from ._alike import Values
from ._components import Groups, Spread
from ._spread_law import ADDITIVE, RELATIVE, SpreadLaw

ODDS = 3.0
"""The logarithm of the odds (20 to 1) from which on a law is taken in place of a simpler one."""


@dataclass(frozen=True, eq=False)
class InTime:
    """What devices do in time.

    Attributes:
        law: "none", "drift" or "relaxation".
        mean: the mean exponent of drift at set values of 0 and of the largest, or the mean shift for each unit of the
            logarithm of time, as a fraction of the largest set value.
        sigma: the standard deviation of that exponent or shift from device to device.
        start: the seconds at which drift begins to count.
        evidence: the logarithm of the odds of each law against none, by name.
        rest: the law by which what is left at each time depends on the set value.
    """

    law: str
    mean: tuple[float, ...]
    sigma: float
    start: float
    evidence: dict[str, float]
    rest: SpreadLaw = RELATIVE

    @property
    def deviation(self) -> Deviation | None:
        """What it is as a deviation."""
        mean = [float(f"{value:.4g}") for value in self.mean]
        sigma = float(f"{self.sigma:.4g}")
        if self.law == "drift":
            return Drift(exponent=tuple(mean) if len(mean) > 1 else mean[0], spread=sigma, start=self.start)
        if self.law == "relaxation":
            return Relaxation(mean=(0.0, *mean), spread=(0.0, sigma))
        return None

    def loading(self, value: Values, time: Values) -> Values:
        """By how much a device's own exponent or shift, beyond the mean one, changes what was measured."""
        if self.law == "drift":
            return -np.log1p(time / self.start) * value
        return np.log(np.maximum(time, 1.0))

    def undone(self, fraction: Values, value: Values, time: Values) -> Values:
        """What would have been measured had nothing changed since devices were set, on average."""
        if self.law == "drift":
            exponent = np.polynomial.polynomial.polyval(fraction, self.mean)
            return value * np.exp(exponent * np.log1p(time / self.start))
        if self.law == "relaxation":
            return value - self.mean[0] * np.log(np.maximum(time, 1.0))
        return value


def in_time(fraction: Values, value: Values, time: Values, groups: Groups, start: float = 20.0) -> InTime:
    """What devices do in time: the law of highest evidence.

    Of drift, the logarithm of each value falls as `exponent * log((time + start) / start)`; of relaxation, the value
    shifts as `shift * log(time)`. Each device has an exponent or a shift of its own. Both are linear in what is
    unknown, so that their restricted likelihood (in which means are averaged over) is evidence for them, once a
    variance that is fitted is paid for by half the logarithm of the number of devices.

    Args:
        fraction: the set value of each over the largest one, above 0, shape (values,).
        value: what was measured over the largest set value.
        time: the seconds since the device was set.
        groups: the groups of each level.
        start: the seconds at which drift begins to count; the first time of the table, where that is earlier.
    """
    start = min(start, float(time[time > 0].min()))
    finest = np.arange(len(value)) if groups.programmed is None else groups.programmed
    cost = math.log(int(finest.max()) + 1) / 2
    ones, elapsed, logs = np.ones(len(value)), -np.log1p(time / start), np.log(np.maximum(time, 1.0))
    found: dict[str, tuple[float, Spread]] = {}

    def fit(
        name: str, values: Values, columns: Sequence[Values], loading: Values, slope: Values | None, units: float
    ) -> None:
        spread = Spread.of(values, np.stack(columns, axis=1), groups, dict.fromkeys(("chip", "core"), loading), slope)
        height = float(spread.nested.likelihood(spread.variances)) + units
        found[name] = (height - (cost if slope is not None else 0.0), spread)

    # Noise may be of one size, or in proportion to the set value; then values are looked at as fractions of that.
    for name, unit in (("", ones), (" of ratios", fraction)):
        units = -float(np.log(unit).sum())
        fit(f"none{name}", value / unit, [fraction / unit], fraction / unit, None, units)
        if np.ptp(logs):
            columns = [fraction / unit, logs / unit]
            fit(f"relaxation{name}", value / unit, columns, fraction / unit, logs / unit, units)
    if (value > 0).all():
        ratios, units = np.log(value / fraction), -float(np.log(value).sum())
        fit("none of logarithms", ratios, [ones], ones, None, units)
        fit("drift", ratios, [ones, elapsed], ones, elapsed, units)
        if len(np.unique(np.round(fraction, 9))) > 1:
            fit("drift by value", ratios, [ones, elapsed, elapsed * fraction], ones, elapsed, units)
    none = max(height for name, (height, _) in found.items() if name.startswith("none"))
    evidence = {name: height - none for name, (height, _) in found.items() if not name.startswith("none")}
    if evidence.get("drift by value", -math.inf) < evidence.get("drift", -math.inf) + ODDS:
        evidence.pop("drift by value", None)
    best = max(evidence, key=lambda name: evidence[name], default="none")
    if evidence.get(best, 0.0) < ODDS:
        best = max((name for name in found if name.startswith("none")), key=lambda name: found[name][0])
        return InTime("none", (), 0.0, start, evidence, ADDITIVE if best == "none" else RELATIVE)
    spread = found[best][1]
    mean = tuple(map(float, spread.nested.coefficients(spread.variances)[0][1:]))
    rest = ADDITIVE if best == "relaxation" else RELATIVE
    return InTime(best.split()[0], mean, math.sqrt(spread.slope), start, evidence, rest)
