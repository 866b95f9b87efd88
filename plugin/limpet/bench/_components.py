"""Components of the spread: how much of it chips, cores, devices, set values and readings bring."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._alike import Values
from ._kurtosis import kurtosis
from ._nested import Effect, Nested

CONFIDENCE = 0.95
AT_ZERO = 1e-6
"""A variance below this fraction of the whole is the boundary's 0."""

LEVELS = ("chip", "core", "device", "setting", "time", "reading")
"""The levels of a bench, the highest first: each holds the next."""
PROGRAMMED = ("setting", "device")
"""The levels within which a device was programmed once, the lowest first."""
HEAVY = LEVELS[2:]
"""The levels of which there are enough groups to see how heavy their tails are."""


@dataclass(frozen=True)
class Component:
    """How much one level brings to the spread.

    Attributes:
        level: "chip" (what all devices of a chip have in common), "core" (what those of a core have in common beyond
            that), "device" (what a device keeps beyond that), "setting" (what it is off by anew at each value to which
            it is set), "time" (what it is off by anew at each time after that, beyond its drift or relaxation) or
            "reading" (what it is off by anew at each reading).
        sigma: the standard deviation, as a fraction of the nominal value; of additive and programming laws, what
            devices and what is below them bring is a fraction of the largest set value. NaN where these measurements
            cannot tell.
        low: the lower end of the 95% interval of sigma.
        high: the upper end of that interval.
        note: the reason why it cannot be told, or that the estimate is at the boundary 0; else empty.
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


@dataclass(frozen=True)
class Groups:
    """Which group of each level a value belongs to.

    Attributes:
        of: the number of the group of each value, shape (values,), by level, the highest first; only levels that can be
            told apart from those beneath. What is left, the lowest level, has a group for each value.
        lowest: the name of the lowest level.
        untold: the reason why each level of chip, core and device that is missing cannot be told, by level.
    """

    of: Mapping[str, NDArray[np.intp]]
    lowest: str
    untold: Mapping[str, str]

    @classmethod
    def among(cls, **labels: NDArray) -> "Groups":
        """The groups of values by their labels, arrays of shape (values,) by level.

        A label of a level counts within those above it: core 0 of two chips is two cores. A level without labels is one
        with its parent.
        """
        numbers = {}
        values = len(next(iter(labels.values())))
        above = np.zeros(values, np.intp)
        for level in LEVELS:
            _, name = np.unique(labels.get(level, np.zeros(values)), return_inverse=True)
            _, above = np.unique(above * (int(name.max()) + 1) + name.ravel(), return_inverse=True)
            numbers[level] = above = above.ravel()
        sizes = {level: int(own.max()) + 1 for level, own in numbers.items()}
        # The lowest level is the highest one that has no two values in a group; lower ones are the same values.
        lowest = next((level for level in LEVELS[2:] if sizes[level] == values), "reading")
        told, held, untold = {}, 1, {}
        for level in LEVELS[: LEVELS.index(lowest)]:
            # What a chip or a core with one device alone brings is the device's.
            if held < sizes[level] < (sizes["device"] if level in ("chip", "core") else values):
                told[level] = numbers[level]
                held = sizes[level]
            elif level in ("chip", "core"):
                untold[level] = _reason(level, sizes)
        return cls(told, lowest, untold)

    @property
    def programmed(self) -> NDArray[np.intp] | None:
        """The group of each value within which a device was programmed once; None where each value has its own."""
        return next((self.of[level] for level in PROGRAMMED if level in self.of), None)

    def degrees(self, values: int) -> dict[str, int]:
        """The degrees of freedom of each level's mean square."""
        counts = [1, *(int(own.max()) + 1 for own in self.of.values()), values]
        return dict(zip((*self.of, self.lowest), np.diff(counts).tolist(), strict=True))


def _reason(level: str, sizes: Mapping[str, int]) -> str:
    if sizes["chip"] == 1 and (level == "chip" or sizes["core"] == 1):
        return f"there is one {level} alone"
    if sizes[level] == sizes["device"]:
        return f"each {level} has one device, so that the device's holds it"
    return "each chip has one core, so that the chip's holds it"


@dataclass(frozen=True, eq=False)
class Spread:
    """The spread of values by level, by restricted maximum likelihood.

    Attributes:
        nested: the model of the values.
        groups: the groups of each level.
        variances: the estimated variances, in the order of `nested.names`.
        unit: what each value was divided by, shape (values,), or 1.
    """

    nested: Nested
    groups: Groups
    variances: Values
    _values: Values
    unit: Values | float = 1.0

    @classmethod
    def of(
        cls,
        values: Values,
        columns: Values,
        groups: Groups,
        loadings: Mapping[str, Values],
        slope: Values | None = None,
    ) -> "Spread":
        """The spread of values.

        Args:
            values: the values, shape (values,).
            columns: the fixed columns, shape (values, columns).
            groups: the groups of each level.
            loadings: the factors by which a level's effect enters each value, by level; ones for levels not named.
            slope: the factors by which a further effect, of each device (at each set value), enters each value; None
                for none.
        """
        ones = np.ones(len(values))
        effects = [Effect(level, own, loadings.get(level, ones)) for level, own in reversed(list(groups.of.items()))]
        if slope is not None and (groups.programmed is not None):
            place = next(place for place, effect in enumerate(effects) if effect.name in PROGRAMMED)
            effects.insert(place + 1, Effect("slope", groups.programmed, slope))
        nested = Nested(values, columns, effects)
        variances = nested.maximum()
        shares = variances * [*(float((effect.loading**2).mean()) for effect in effects), 1.0]
        at_zero = shares < AT_ZERO * shares.sum()
        if at_zero[:-1].any():
            variances = nested.maximum(zero=np.flatnonzero(at_zero[:-1]).tolist())
        left = values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
        return cls(nested, groups, variances, left)

    @property
    def slope(self) -> float:
        """The variance of the further effect; 0 where there is none."""
        names = self.nested.names
        return float(self.variances[names.index("slope")]) if "slope" in names else 0.0

    @property
    def levels(self) -> dict[str, float]:
        """The variance of each level that can be told, the highest first."""
        names = (*self.nested.names[:-1], self.groups.lowest)
        found = dict(zip(names, map(float, self.variances), strict=True))
        if self._exhausted:
            found[self.groups.lowest] = 0.0
        return {level: found[level] for level in LEVELS if level in found}

    @property
    def _exhausted(self) -> bool:
        """Whether values agree with what the levels above the lowest say, to the last digit."""
        return self.nested.is_least(self.variances)

    def interval(self, level: str) -> tuple[float, float]:
        """The 95% interval of a level's variance.

        It ends where the profile likelihood has fallen by as much as that of a mean square of as many degrees of
        freedom has at the ends of its exact interval, `degrees (r - 1 - log r)`, with r the quantile of chi square over
        its degrees. Where the tails of a level are heavier than normal ones, its mean square varies more, as one of
        fewer degrees does; see `kurtosis`.
        """
        from scipy import stats

        place = len(self.variances) - 1 if level == self.groups.lowest else self.nested.names.index(level)
        if self._exhausted:  # nothing is left by which chance could be told
            return self.levels[level], self.levels[level]
        degrees = self.groups.degrees(self.nested.count)[level]
        worth = self._effective(level, degrees)
        tails = ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2)
        ratios = [float(stats.chi2.ppf(tail, worth)) / worth for tail in tails]
        low, high = (degrees * (ratio - 1 - math.log(ratio)) for ratio in ratios)
        return self.nested.interval(place, self.variances, (low, high))

    def _effective(self, level: str, degrees: int) -> float:
        """The degrees of freedom that a level's mean square is worth.

        The variance of a mean square of deviations from the means of groups is
        `sigma^4 (2 / degrees + kurtosis * sum(share^2) / degrees^2)`, where `degrees` is the sum over values of
        `share = 1 - 1 / count of the group`; it is set equal to `2 sigma^4 / effective degrees`.
        """
        if level not in HEAVY:
            return degrees
        above = [own for name, own in self.groups.of.items() if LEVELS.index(name) < LEVELS.index(level)]
        means, parent = self._values, above[-1] if above else np.zeros(len(self._values), np.intp)
        if level in self.groups.of:
            own = self.groups.of[level]
            means = np.bincount(own, means) / np.bincount(own)
            parents = np.zeros(len(means), np.intp)
            parents[own] = parent
            parent = parents
        counts = np.bincount(parent)
        deviations = means - (np.bincount(parent, means) / counts)[parent]
        share = 1 - 1 / counts[parent]
        whole = float(share.sum())
        return degrees / (1 + kurtosis(deviations, counts[parent]) * float((share**2).sum()) / (2 * whole))
