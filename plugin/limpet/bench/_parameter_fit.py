"""What a bench's measurements say of one parameter."""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from limpet import Deviation, LimpetError, ReadNoise
from limpet.deviations import label

from ._alike import Values
from ._components import Component
from ._goodness import goodness
from ._in_time import InTime
from ._measurements import Measurements
from ._model import BySetValue, ByTime, Model
from ._observed import Rows, common_place, numbers
from ._outliers import far_off, stuck
from ._shapes import Shape
from ._spread_law import SpreadLaw

FEWEST_VALUES = 5
"""Of a parameter, to fit a distribution of up to three numbers to."""
CLOSE = 0.02
"""A Kolmogorov-Smirnov distance below which a law is close enough, however many values tell that it is not exact."""
DOUBT = 0.01
"""The p-value below which a law is said not to fit."""
MOST_GAIN = 1e9
"""The largest factor between a measured and its set value that is believed."""
UNEVEN_TIME = 1.5
"""The ratio of the spread measured at a time and that of the hardware from which on it is said."""
UNEVEN = 6.0
"""The standard errors by which the spread at a set value may be off the law's; tails that are heavier than a Gaussian's
make the spread of a few values vary more."""


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
        without_outliers: the deviation without those rows, where they were not left out; None where there is none.
        by_time: what was measured at each time, the earliest first; empty where there is one alone.
        by_set_value: what was measured at each set value, the lowest first; empty where there are too many to show.
        residuals: the deviation of each device from what its chip and core have in common, relative to the gain, shape
            (values,): numbers about 1 that follow `shape`, or standard normal ones where there is none. Of a
            device at several set values there are as many as are independent.
        distance: the Kolmogorov-Smirnov distance between the residuals and the law.
        p_value: the fraction of simulated benches of the law that are at least as far from the law fitted to them.
        kind: the name of the law of the devices' spread.
        law: the law by which that spread depends on the set value.
        shape: the distribution of factors as it was fitted; None where they have no common center, as those of laws
            that are not relative, or have an offset.
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
        """The set values at which devices spread more or less than the law says, by a quarter and by more than chance
        explains; those that are farthest off first."""
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
        if self.shape is None or (self.residuals < 0).any():
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
    model = Model.of(rows.where(kept), table.where(kept), where)
    without = None
    if outliers.any() and not robust:
        rest = kept & ~outliers
        with suppress(LimpetError):  # of the rest nothing may be left to fit
            without = Model.of(rows.where(rest), table.where(rest), where).deviation
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
        by_set_value=model.by_set_value(largest),
        residuals=model.residuals,
        distance=distance,
        p_value=p_value,
    )
