"""The laws that a parameter's rows follow, and their spread by level."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from limpet import Additive, Deviation, Gaussian, LimpetError, LogNormal, Programming, ReadNoise

from ._alike import Values
from ._components import LEVELS, Component, Groups, Spread
from ._in_time import ODDS, InTime, in_time
from ._measurements import Measurements
from ._observed import Cells, Rows, numbers
from ._shapes import Shape, shapes
from ._spread_law import RELATIVE, SpreadLaw, spread_laws

RELATIVE_KINDS = ("gaussian", "log-normal", "student-t", "truncated-gaussian", "uniform")
"""The kinds whose spread is a fraction of the set value."""
FEWEST_OF_A_TIME = 10
"""Degrees of freedom that tell how far values spread at one time."""
MOST_SET_VALUES = 40
"""The most set values that are shown one by one."""
LEAST_GAIN = 0.02
"""The smallest factor between measured and set values of all devices that is believed."""


@dataclass(frozen=True)
class BySetValue:
    """What was measured at one set value.

    Attributes:
        nominal: the set value, in the parameter's unit.
        count: the number of devices, those that are stuck left out.
        center: the mean of measured / nominal.
        sigma: the standard deviation of the same.
        expected: the standard deviation that the fitted law has there.
    """

    nominal: float
    count: int
    center: float
    sigma: float
    expected: float


@dataclass(frozen=True)
class ByTime:
    """What was measured at one time after devices were set.

    Attributes:
        time: the time in seconds.
        sigma: the standard deviation of what was measured about the mean at each set value, as a fraction of the
            largest set value.
        expected: the standard deviation that the hardware has there.
    """

    time: float
    sigma: float
    expected: float


@dataclass(frozen=True, eq=False)
class Model:
    """The laws that rows which are to be believed follow, and their spread by level.

    Attributes:
        rows: the measurements; of a relative law, those of devices that were set to 0 are left out.
        raw: what was measured, as a fraction of the largest set value, shape (values,).
        table: the same as numbers, with what devices do in time undone.
        changing: what devices do in time.
        cells: the value of each device at each set value.
        told: those of them that count as independent.
        kind: the name of the law of devices.
        law: the law by which their spread depends on the set value.
        shape: the distribution of factors as it was fitted; None where they have no common center.
        evidence: the logarithm of the evidence for each law, above that for a relative Gaussian one.
        of_readings: the law by which the noise of readings depends on the set value.
        logarithms: whether the spread is that of logarithms.
        spread: the spread by level.
    """

    rows: Measurements
    raw: Values
    table: Rows
    changing: InTime
    cells: Cells
    told: Cells
    kind: str
    law: SpreadLaw
    shape: Shape | None
    evidence: dict[str, float]
    of_readings: SpreadLaw
    logarithms: bool
    spread: Spread

    @classmethod
    def of(cls, rows: Measurements, table: Rows, where: str) -> "Model":
        """The model of rows.

        Raises:
            LimpetError: nothing is to be fitted, or measured values do not follow what devices are set to.
        """
        there = table.fraction > 0
        changing = _in_time(table.where(there))
        raw, undone = table.value, changing.undone(table.fraction, table.value, table.time)
        table = replace(table, value=undone)
        cells = Cells.of(table.where(there))
        told = cells.independent
        kind, law, shape, evidence = _law(told, where)
        # Of devices that are set to 0 nothing is said by relative laws, which those of times and readings may be, too.
        if kind in RELATIVE_KINDS or table.timed or table.groups.lowest == "reading":
            rows, table, raw = rows.where(there), table.where(there), raw[there]
        groups = table.groups
        of_readings = _law_of_readings(table, law) if groups.lowest == "reading" else law
        logarithms = kind == "log-normal" and bool((table.value > 0).all())
        spread = _spread(table, groups, law, of_readings, changing, logarithms)
        found = cls(
            rows, raw, table, changing, cells, told, kind, law, shape, evidence, of_readings, logarithms, spread
        )
        if found.gain < LEAST_GAIN:
            raise LimpetError(
                f"{where}: measured values hardly follow what devices are set to (the gain is {found.gain:.3g}); is "
                f"nominal the right column, and no sign the wrong way?"
            )
        return found

    @cached_property
    def _coefficients(self) -> tuple[Values, Values]:
        return self.spread.nested.coefficients(self.spread.variances)

    @property
    def gain(self) -> float:
        """The factor between measured and set values that all devices have in common."""
        found = float(self._coefficients[0][0])
        return math.exp(found) if self.logarithms else found

    @property
    def gain_error(self) -> float:
        """The standard error of the gain."""
        return math.sqrt(self._coefficients[1][0, 0]) * (self.gain if self.logarithms else 1)

    @property
    def offset(self) -> float:
        """The offset beside the gain, as a fraction of the largest set value."""
        return float(self._coefficients[0][1]) if self.law.offset else 0.0

    @property
    def deviation(self) -> Deviation:
        """What a device deviates by beyond what its chip and core have in common."""
        levels = self.spread.levels
        own = levels.get("device", 0.0) + levels.get("setting", 0.0)
        further = levels.get("time", 0.0) + levels.get("reading", 0.0) / float(self.cells.readings.mean())
        sigma = math.sqrt(own) / (1 if self.logarithms else self.gain)
        return _deviation(self.kind, self.law, self.shape, sigma, own / (own + further or 1.0))

    @property
    def read_noise(self) -> ReadNoise | None:
        """The noise of a reading; None where readings were not repeated, or agree."""
        variance = self.spread.levels.get("reading", 0.0)
        if not variance:
            return None
        return _read_noise(self.of_readings, math.sqrt(variance), self.gain, self.logarithms)

    @cached_property
    def residuals(self) -> Values:
        """What devices are off by: factors about 1 where a shape was fitted to them, else standard normal numbers."""
        if self.shape is not None:
            return self.told.value / self.told.fraction / self.shape.center
        return _scaled(self.law, self.told)[0]

    def components(self) -> tuple[Component, ...]:
        """The components of the spread, with their intervals."""
        return _components(self.spread, self.gain, self.logarithms, self.rows)

    def by_set_value(self, largest: float) -> tuple[BySetValue, ...]:
        """What was measured at each set value; empty where there are too many to show.

        Args:
            largest: the largest set value, in the parameter's unit.
        """
        return _by_set_value(self.cells, self.law, largest)

    def by_time(self) -> tuple[ByTime, ...]:
        """The spread at each time; empty where there is one time alone."""
        if not self.changing.evidence or self.logarithms:
            return ()
        return _by_time(self.raw, self.table, self.spread, self.changing)


def _in_time(table: Rows) -> InTime:
    if not table.timed:
        return InTime("none", (), 0.0, 0.0, {})
    return in_time(table.fraction, table.value, table.time, table.groups)


def _law(cells: Cells, where: str) -> tuple[str, SpreadLaw, Shape | None, dict[str, float]]:
    """The law of the spread of devices: its name, how it depends on the set value, its shape; and the evidence.

    The shape is None where what devices are off by is no factor about one center.
    """
    ratios = cells.value / cells.fraction
    if ratios.std() <= 1e-9 * np.abs(ratios).max():
        raise LimpetError(
            f"{where}: devices are off by what their chip or core is off by alone; nothing is to be fitted"
        )
    found = shapes(ratios)
    if "gaussian" not in found:
        raise LimpetError(
            f"{where}: devices spread by {ratios.std() / abs(ratios.mean()):.3g} times what they are set to, more than "
            f"a deviation holds; do measured and set values belong together? robust=True leaves out rows that are far "
            f"off"
        )
    laws: dict[str, tuple[float, str, SpreadLaw, Shape | None]] = {
        kind: (shape.evidence, kind, RELATIVE, shape) for kind, shape in found.items()
    }
    if len(np.unique(np.round(cells.fraction, 9))) > 1:
        for law in spread_laws(cells.fraction, cells.value):
            kind = "gaussian" if law.kind == "relative" else law.kind
            name = f"{kind}, offset" if law.offset else kind
            # The relative law without an offset is there already, as the Gaussian shape.
            if name != "gaussian" and law.evidence > laws.get(name, (-math.inf,))[0]:
                laws[name] = (law.evidence, kind, law, None)
    reference = laws["gaussian"][0]
    evidence = {name: law[0] - reference for name, law in sorted(laws.items(), key=lambda item: -item[1][0])}
    best = next(iter(evidence))
    best = best if evidence[best] > ODDS else "gaussian"
    # An offset, and then a polynomial, have to be worth it beside the law without.
    for more, less in ((", offset", ""), ("programming", "additive")):
        simpler = best.replace(more, less)
        if evidence[best] < evidence[simpler] + ODDS:
            best = simpler
    _, kind, law, shape = laws[best]
    return kind, law, shape, {best: evidence[best]} | evidence


def _law_of_readings(table: Rows, law: SpreadLaw) -> SpreadLaw:
    """How the noise of readings depends on the set value: of readings that were repeated at one time."""
    counts = np.bincount(table.reading)
    repeated = (counts[table.reading] > 1) & (table.fraction > 0)
    if not repeated.any() or len(np.unique(np.round(table.fraction[repeated], 9))) == 1:
        return law
    means = np.bincount(table.reading, table.value) / np.maximum(counts, 1)
    own = counts[table.reading[repeated]]
    contrasts = (table.value - means[table.reading])[repeated] * np.sqrt(own / (own - 1))
    if not contrasts.any():
        return law
    first, *others = spread_laws(table.fraction[repeated], contrasts, mean=False)
    best = max(others, key=lambda other: other.evidence)
    return best if best.evidence > first.evidence + ODDS else first


def _spread(
    table: Rows, groups: Groups, law: SpreadLaw, of_readings: SpreadLaw, changing: InTime, logarithms: bool
) -> Spread:
    fraction, value = table.fraction, table.value
    if logarithms:
        slope = changing.loading(np.ones(len(value)), table.time) if changing.law != "none" else None
        slope = slope / fraction if slope is not None and changing.law == "relaxation" else slope
        return Spread.of(np.log(value / fraction), np.ones((len(value), 1)), groups, {}, slope)
    of_lowest = {"reading": of_readings, "time": changing.rest}.get(groups.lowest, law)
    unit = of_lowest.at(fraction)
    own, common = law.at(fraction) / unit, fraction / unit
    columns = np.stack([common, 1 / unit][: 1 + law.offset], axis=1)
    at_times = changing.rest.at(fraction) / unit
    loadings = {"chip": common, "core": common, "device": own, "setting": own, "time": at_times}
    slope = changing.loading(fraction, table.time) / unit if changing.law != "none" else None
    return replace(Spread.of(value / unit, columns, groups, loadings, slope), unit=unit)


def _components(spread: Spread, gain: float, logarithms: bool, rows: Measurements) -> tuple[Component, ...]:
    def sigma(variance: float) -> float:
        if logarithms:
            return math.sqrt(math.expm1(min(variance, 700.0)))
        return math.sqrt(variance) / gain

    found = {}
    for level, variance in spread.levels.items():
        low, high = spread.interval(level)
        note = "" if variance else "at the boundary 0"
        found[level] = Component(level, sigma(variance), sigma(low), sigma(high), note)
    for level, reason in spread.groups.untold.items():
        if level != "core" or (rows.core != "").any():
            found[level] = Component(level, math.nan, math.nan, math.nan, reason)
    return tuple(found[level] for level in LEVELS if level in found)


def _deviation(kind: str, law: SpreadLaw, shape: Shape | None, sigma: float, share: float) -> Deviation:
    """The deviation of a device.

    Args:
        kind: the kind of the law.
        law: the law by which the spread depends on the set value.
        shape: the distribution of factors as it was fitted, which laws other than those need.
        sigma: the standard deviation of a device at the largest set value (of its logarithm, if the law is log-normal).
        share: the fraction of the variance that was measured that is the device's own.
    """
    if kind == "additive":
        return Additive(float(f"{sigma:.4g}"))
    if kind == "programming":
        return Programming(spread=tuple(float(f"{sigma * coefficient:.4g}") for coefficient in law.coefficients))
    if kind == "gaussian":
        return Gaussian(float(f"{sigma:.4g}"))
    if kind == "log-normal":
        return LogNormal(sigma=float(f"{math.sqrt(math.expm1(sigma**2)):.4g}"))
    # Of heavy tails and of ends, the width is told better by the law's own fit than by a variance.
    fitted: Any = shape and shape.deviation
    return replace(fitted, sigma=float(f"{fitted.sigma * math.sqrt(share):.4g}"))


def _read_noise(law: SpreadLaw, sigma: float, gain: float, logarithms: bool) -> ReadNoise:
    if law.kind == "relative" or logarithms:
        return ReadNoise(spread=float(f"{sigma if logarithms else sigma / gain:.4g}"))
    spread = [float(f"{sigma * coefficient:.4g}") for coefficient in law.coefficients]
    return ReadNoise(spread=spread[0] if len(spread) == 1 else tuple(spread), of="largest")


def _scaled(law: SpreadLaw, cells: Cells) -> tuple[Values, float]:
    """What devices are off by in standard deviations of the law, and the width by which the law is to be multiplied."""
    unit = law.at(cells.fraction)
    columns = np.stack([cells.fraction / unit, 1 / unit][: 1 + law.offset], axis=1)
    scaled = cells.value / unit
    left = scaled - columns @ np.linalg.lstsq(columns, scaled, rcond=None)[0]
    width = float(left.std(ddof=columns.shape[1]))
    return left / width, width


def _by_time(raw: Values, table: Rows, spread: Spread, changing: InTime) -> tuple[ByTime, ...]:
    """The spread at each time, beside that of the hardware: of all levels but what is left at each time."""
    state = numbers(np.round(table.fraction, 9), table.time)
    left = (raw - (np.bincount(state, raw) / np.bincount(state))[state]) ** 2
    levels = dict(zip(spread.nested.names, spread.variances, strict=True))
    variance = np.zeros(len(raw))
    for effect in spread.nested.effects:
        variance += levels[effect.name] * effect.loading**2
    expected = variance * spread.unit**2
    if changing.law == "drift":  # which draws what devices are off by together with them
        expected = expected / changing.undone(table.fraction, np.ones(len(raw)), table.time) ** 2
    found = []
    for time in np.unique(table.time).tolist():
        there = table.time == time
        freedom = int(there.sum()) - len(np.unique(state[there]))
        if freedom >= FEWEST_OF_A_TIME:
            found.append(
                ByTime(time, float((left[there].sum() / freedom) ** 0.5), float(expected[there].mean() ** 0.5))
            )
    return tuple(found)


def _by_set_value(cells: Cells, law: SpreadLaw, largest: float) -> tuple[BySetValue, ...]:
    set_values = np.unique(np.round(cells.fraction, 9))
    if len(set_values) > MOST_SET_VALUES:
        return ()
    width, ratios = _scaled(law, cells)[1], cells.value / cells.fraction
    found = []
    for at in set_values.tolist():
        own = ratios[np.round(cells.fraction, 9) == at]
        sigma = float(own.std(ddof=1)) if len(own) > 1 else math.nan
        expected = width * float(law.at(np.array([at])).sum()) / at
        found.append(BySetValue(at * largest, len(own), float(own.mean()), sigma, expected))
    return tuple(found)
