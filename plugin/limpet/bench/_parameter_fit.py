"""What a bench's measurements say of one parameter."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from limpet import (
    Additive,
    Deviation,
    Gaussian,
    LimpetError,
    LogNormal,
    Programming,
    ReadNoise,
)
from limpet.deviations import label

from ._alike import Values
from ._components import LEVELS, Component, Groups, Spread
from ._goodness import goodness
from ._in_time import ODDS, InTime, in_time
from ._measurements import Measurements
from ._observed import Cells, Rows, common_place, numbers
from ._outliers import far_off, stuck
from ._shapes import Shape, shapes
from ._spread_law import RELATIVE, SpreadLaw, spread_laws

FEWEST_VALUES = 5
"""Of a parameter, to fit a distribution of up to three numbers to."""
FEWEST_OF_A_TIME = 10
"""Degrees of freedom that tell how far values spread at one time."""
CLOSE = 0.02
"""A Kolmogorov-Smirnov distance below which a law is close enough, however many values tell that it is not exact."""
DOUBT = 0.01
"""The p-value below which a law is said not to fit."""
MOST_SET_VALUES = 40
"""The most set values that are shown one by one."""
LEAST_GAIN, MOST_GAIN = 0.02, 1e9
"""The smallest factor between measured and set values of all devices, and the largest one of any, that are believed."""
UNEVEN_TIME = 1.5
"""The ratio of the spread measured at a time and that of the hardware from which on it is said."""
UNEVEN = 6.0
"""The standard errors by which the spread at a set value may be off the law's; tails that are heavier than a Gaussian's
make the spread of a few values vary more."""


@dataclass(frozen=True)
class BySetValue:
    """What was measured at one set value.

    Attributes:
        nominal: the set value, in the parameter's unit.
        count: the number of devices, those that are stuck left out.
        center: the mean of measured / nominal (of measured / largest set value, where the set value is 0).
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
class ParameterFit:
    """What was found of one parameter.

    Attributes:
        name: the name of the parameter, as the table writes it.
        unit: the base unit, such as "A"; empty where none was said.
        nominal: the median of the set values, in `unit`.
        largest: the largest set value, in `unit`.
        rows: the measurements that the fit stands on.
        deviation: the law of what each device deviates by beyond what its chip and core have in common.
        evidence: the logarithm of the evidence for each law, by name, above that for a relative Gaussian one. A law is
            taken in its place where this exceeds 3, odds of 20 to 1.
        gain: the factor between measured and set values that all devices have in common.
        gain_error: the standard error of the gain.
        offset: the offset beside it, as a fraction of the largest set value; 0 where there is none.
        components: the components of the spread, by level.
        common_place: the standard deviation, as a fraction, of what devices at one place (of one core and device
            label) have in common on all chips; 0 where nothing is seen of it.
        in_time: what devices do in time.
        read_noise: the noise of each reading; None where readings were not repeated.
        stuck: the devices that follow no set value, by what they hold ("at_zero", "at_largest", "at_random"): how many
            of all devices.
        devices: the number of devices, with those that are stuck.
        outliers: the rows that are far off and belong to no such device, as messages name them.
        left_out: whether the outliers were left out of everything else.
        without_outliers: the deviation without those rows, where there are some and they were not left out.
        by_time: what was measured at each time, the earliest first; empty where there is one alone.
        by_set_value: what was measured at each set value, the lowest first; empty where there are too many to show.
        residuals: the deviation of each device from what its chip and core have in common, relative to the gain, shape
            (values,): where spreads are relative, numbers about 1 that follow the law; else standard normal ones. Of a
            device at several set values there are as many as are independent.
        distance: the Kolmogorov-Smirnov distance between the residuals and the law.
        p_value: the fraction of simulated benches of the law that are at least as far from the law fitted to them.
        kind: the name of the law of the devices' spread.
        law: the law by which that spread depends on the set value.
        shape: the distribution as it was fitted to the residuals; None where spreads are not relative.
    """

    name: str
    unit: str
    nominal: float
    largest: float
    rows: Measurements
    deviation: Deviation
    evidence: dict[str, float]
    gain: float
    gain_error: float
    offset: float
    components: tuple[Component, ...]
    common_place: float
    in_time: InTime
    read_noise: ReadNoise | None
    stuck: dict[str, int]
    devices: int
    outliers: str
    left_out: bool
    without_outliers: Deviation | None
    by_time: tuple[ByTime, ...]
    by_set_value: tuple[BySetValue, ...]
    residuals: Values
    distance: float
    p_value: float
    kind: str
    law: SpreadLaw
    shape: Shape | None

    @property
    def relative(self) -> bool:
        """Whether the spread of devices is a fraction of what each is set to."""
        return self.kind not in ("additive", "programming")

    @property
    def distribution(self) -> Any:
        """The distribution that residuals follow, if the law is right: one of `scipy.stats`."""
        from scipy import stats

        return stats.norm() if self.shape is None else self.shape.deviation.distribution()

    @property
    def off_center(self) -> bool:
        """Whether devices are off in common, by more than 1% and than twice the standard error."""
        return self.offset != 0 or abs(self.gain - 1) > max(0.01, 2 * self.gain_error)

    @property
    def doubtful(self) -> bool:
        """Whether not even the law that was taken fits the measurements well."""
        return self.p_value < DOUBT and self.distance > CLOSE

    @property
    def uneven(self) -> tuple[BySetValue, ...]:
        """The set values at which devices spread more or less than the law says, by a quarter and by chance in one of
        10,000; those that are farthest off first."""
        far = [
            at
            for at in self.by_set_value
            if at.count > 9
            and at.expected
            and abs(at.sigma / at.expected - 1) > 0.25
            and abs(at.sigma**2 / at.expected**2 - 1) > UNEVEN * math.sqrt(2 / at.count)
        ]
        return tuple(sorted(far, key=lambda at: -abs(math.log(max(at.sigma, 1e-12) / at.expected))))

    @property
    def exact(self) -> float:
        """The fraction of values that are what devices were set to, to the last digit."""
        return float((self.rows.measured == self.rows.nominal).mean())

    @property
    def below_zero(self) -> float:
        """The fraction of devices that the law puts below zero, where none was measured there; else 0."""
        if not self.relative or (self.residuals < 0).any():
            return 0.0
        return float(self.distribution.cdf(0.0))

    def __repr__(self) -> str:
        levels = ", ".join(f"{c.level} {c.sigma:.3g}" for c in self.components if c.told)
        return f"ParameterFit({self.name}: {label(self.deviation)}; {levels})"

    def component(self, level: str) -> Component | None:
        """The component of a level; None where the table has no such level."""
        return next((component for component in self.components if component.level == level), None)


def fit_parameter(rows: Measurements, name: str, robust: bool) -> ParameterFit:
    """What a table says of one parameter.

    Args:
        rows: the measurements of the parameter.
        name: its name.
        robust: whether rows that are far off are left out.

    Raises:
        LimpetError: there are too few values, or nothing is to be fitted.
    """
    everything = np.ones(rows.line.shape, bool)
    where = f"{rows.source}: parameter '{name}' ({rows.places(everything)})"
    table = Rows.of(rows)
    there = table.fraction > 0
    if there.sum() < FEWEST_VALUES:
        number = f"{there.sum()} value{'s' if there.sum() > 1 else ''}"
        raise LimpetError(f"{where} has {number}; needed are {FEWEST_VALUES}: measure more devices, or leave it out")
    factors = table.value[there] / table.fraction[there]
    if (far := np.abs(factors).max()) > MOST_GAIN:
        raise LimpetError(
            f"{where}: a measured value is {far:.3g} times the set value; do their units belong together?"
        )
    if factors.std() <= 1e-9 * np.abs(factors).max():
        raise LimpetError(
            f"{where}: all values are off by the same factor {factors[0]:.6g}, so there is nothing to fit"
        )
    if factors.mean() <= 0:
        raise LimpetError(f"{where}: measured / nominal has the mean {factors.mean():.3g}; is a sign the wrong way?")
    far = np.zeros(len(there), bool)
    state = numbers(np.round(table.fraction, 9), np.nan_to_num(table.time))
    far[there] = far_off(table.fraction[there], table.value[there], state[there], table.core[there], table.chip[there])
    defects = stuck(table.fraction, table.value, far, table.device)
    outliers = far & ~defects.rows
    kept = ~defects.rows & ~(outliers & robust)
    if (kept & there).sum() < FEWEST_VALUES:
        raise LimpetError(f"{where}: of {len(kept)} values {kept.sum()} are left without those that are far off")
    masks = {"at_zero": defects.at_zero, "at_largest": defects.at_largest, "at_random": defects.elsewhere}
    where = f"{rows.source}: parameter '{name}'"
    model = _Model.of(rows.where(kept), table.where(kept), where)
    without = None
    if outliers.any() and not robust:
        rest = kept & ~outliers
        without = _Model.of(rows.where(rest), table.where(rest), where).deviation
    largest, (distance, p_value) = float(np.abs(rows.nominal).max()), goodness(model.residuals, model.shape)
    return ParameterFit(
        name=name,
        unit=rows.unit[0],
        nominal=float(np.median(model.rows.nominal)),
        largest=largest,
        rows=model.rows,
        kind=model.kind,
        law=model.law,
        shape=model.shape,
        deviation=model.deviation,
        evidence=model.evidence,
        gain=model.gain,
        gain_error=model.gain_error,
        offset=model.offset,
        components=model.components(),
        common_place=common_place(model.cells),
        in_time=model.changing,
        read_noise=model.read_noise,
        stuck={key: len(np.unique(table.device[mask])) for key, mask in masks.items() if mask.any()},
        devices=int(table.device.max()) + 1,
        outliers=rows.places(outliers) if outliers.any() else "",
        left_out=robust,
        without_outliers=without,
        by_time=model.by_time(),
        by_set_value=_by_set_value(model.cells, model.law, largest),
        residuals=model.residuals,
        distance=distance,
        p_value=p_value,
    )


@dataclass(frozen=True, eq=False)
class _Model:
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
        shape: the distribution as it was fitted; None where spreads are not relative.
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
    def of(cls, rows: Measurements, table: Rows, where: str) -> "_Model":
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

    def by_time(self) -> tuple[ByTime, ...]:
        """The spread at each time; empty where there is one time alone."""
        if not self.changing.evidence or self.logarithms:
            return ()
        return _by_time(self.raw, self.table, self.spread, self.changing)


RELATIVE_KINDS = ("gaussian", "log-normal", "student-t", "truncated-gaussian", "uniform")
"""The kinds whose spread is a fraction of the set value."""


def _in_time(table: Rows) -> InTime:
    if not table.timed:
        return InTime("none", (), 0.0, 0.0, {})
    return in_time(table.fraction, table.value, table.time, table.groups)


def _law(cells: Cells, where: str) -> tuple[str, SpreadLaw, Shape | None, dict[str, float]]:
    """The law of the spread of devices: its name, how it depends on the set value, its shape; and the evidence."""
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
            if name not in laws or law.evidence > laws[name][0]:
                laws[name] = (law.evidence, kind, law, found["gaussian"] if kind == "gaussian" else None)
    reference = laws["gaussian"][0]
    evidence = {name: law[0] - reference for name, law in sorted(laws.items(), key=lambda item: -item[1][0])}
    best = next(iter(evidence))
    best = best if evidence[best] > ODDS else "gaussian"
    # An offset, and a polynomial, have to be worth it beside the law without.
    for simpler in (best.removesuffix(", offset"), "additive" if best == "programming" else best):
        if simpler in evidence and evidence[best] < evidence[simpler] + ODDS:
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
        slope = changing.loading(fraction, np.ones(len(value)), table.time) if changing.law != "none" else None
        slope = slope / fraction if slope is not None and changing.law == "relaxation" else slope
        return Spread.of(np.log(value / fraction), np.ones((len(value), 1)), groups, {}, slope)
    of_lowest = {"reading": of_readings, "time": changing.rest}.get(groups.lowest, law)
    unit = of_lowest.at(fraction)
    own, common = law.at(fraction) / unit, fraction / unit
    columns = np.stack([common, 1 / unit][: 1 + law.offset], axis=1)
    at_times = changing.rest.at(fraction) / unit
    loadings = {"chip": common, "core": common, "device": own, "setting": own, "time": at_times}
    slope = changing.loading(fraction, fraction, table.time) / unit if changing.law != "none" else None
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
        shape: the distribution as fitted to what was measured; None where it is no relative one.
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
    fitted: Any = shape.deviation if shape is not None else None
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
