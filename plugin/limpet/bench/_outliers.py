"""Readings that no law explains: devices that are stuck, and rows that are far off."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._alike import Values

Chosen = NDArray[np.bool_]

FALSE_ALARMS = 0.05
"""The expected number of rows of a table that are called far off although they belong to the rest."""
FEWEST = 5
"""Values of a group whose median says where it lies."""
FEWEST_OF_A_VALUE = 20
"""Values of one set value that tell how wide it spreads; of fewer, neighbouring set values are taken together."""
NOTHING = 0.02
"""A device below this fraction of its set value, and far off, is stuck at zero."""
UNMOVED = 0.2
"""A device whose readings change by less than this fraction of the change of its set values, and that is far off, does
not follow them."""


@dataclass(frozen=True, eq=False)
class Stuck:
    """Devices that hold one value whatever they are set to.

    Attributes:
        at_zero: the rows of devices that hold nothing, shape (values,).
        at_largest: the rows of devices that hold the largest value.
        elsewhere: the rows of devices that hold another one.
    """

    at_zero: Chosen
    at_largest: Chosen
    elsewhere: Chosen

    @property
    def rows(self) -> Chosen:
        """The rows of all of them."""
        return self.at_zero | self.at_largest | self.elsewhere


def far_off(fraction: Values, value: Values, kind: NDArray, core: NDArray[np.intp], chip: NDArray[np.intp]) -> Chosen:
    """The rows that are farther off than the rest of the table makes believable.

    A row's distance is that of value / set value from the median of its core, over the median distance of rows of its
    kind: of ratios, or of their logarithms where these lie more evenly about their median. How far is too far depends
    on how heavy the tails are, which the inner 95% say by the ratio of two quantiles: that of Student's distribution
    with as many degrees of freedom. So values of a heavy-tailed law are not called outliers, and gross errors do not
    make a law look heavy-tailed.

    Args:
        fraction: the set value of each over the largest one, above 0, shape (values,).
        value: what was measured over the largest set value.
        kind: a label of each value, of its set value and time, which have a spread of their own.
        core: the number of each value's core.
        chip: the number of each value's chip.
    """
    from scipy import stats

    ratio = value / fraction
    kinds = _kinds(fraction, kind)
    places = np.unique(np.stack([kinds, core]), axis=1, return_inverse=True)[1].ravel()
    of_chips = np.unique(np.stack([kinds, chip]), axis=1, return_inverse=True)[1].ravel()
    positive = ratio > 0
    distances = _distances(ratio, kinds, places, of_chips)
    if positive.mean() > 0.5:
        logs = np.full(len(ratio), -np.inf)
        logs[positive] = np.log(ratio[positive])
        of_logs = _distances(logs, kinds, places, of_chips)
        if _skew(of_logs[positive]) < _skew(distances[positive]):
            distances = of_logs
    sizes = np.abs(distances)
    inner, outer = np.quantile(sizes, [0.5, 0.95])
    if not inner:
        return np.zeros(len(ratio), bool)
    # The ratio of the same quantiles of Student's distribution, 2.9 of a Gaussian, 3.7 of 4 degrees and 5.6 of 2.
    degrees = np.geomspace(2, 1000, 60)
    quantiles = stats.t.ppf([[0.975], [0.75]], degrees)
    seen = int(np.abs(quantiles[0] / quantiles[1] - outer / inner).argmin())
    beyond = 2 * stats.t.sf(sizes / inner * quantiles[1, seen], degrees[seen])
    return beyond * len(ratio) < FALSE_ALARMS


def _kinds(fraction: Values, kind: NDArray) -> NDArray[np.intp]:
    """Rows by kind; neighbouring set values are drawn together where there are few of each."""
    numbers = np.unique(kind, return_inverse=True)[1].ravel()
    if np.bincount(numbers).min() >= FEWEST_OF_A_VALUE:
        return numbers
    ranks = np.argsort(np.argsort(fraction, kind="stable"), kind="stable")
    return ranks // max(100, FEWEST_OF_A_VALUE) if len(fraction) >= 200 else np.zeros(len(fraction), np.intp)


def _distances(values: Values, kinds: NDArray[np.intp], *places: NDArray[np.intp]) -> Values:
    """Distances from the median of a group (the first of enough values), over the median distance of the kind."""
    center = _medians(values, kinds)
    for groups in reversed(places):
        enough = np.bincount(groups)[groups] >= FEWEST
        center = np.where(enough, _medians(values, groups), center)
    left = values - center
    typical = _medians(np.abs(left), kinds)
    return np.divide(left, typical, out=np.zeros_like(left), where=typical > 0)


def _medians(values: Values, groups: NDArray[np.intp]) -> Values:
    """The median of the group of each value."""
    order = np.lexsort([values, groups])
    counts = np.bincount(groups)
    starts = np.cumsum(counts) - counts
    ordered = values[order]
    last = len(values) - 1
    found = (
        ordered[np.minimum(starts + (counts - 1) // 2, last)] + ordered[np.minimum(starts + counts // 2, last)]
    ) / 2
    return found[groups]


def _skew(distances: Values) -> float:
    low, middle, high = np.quantile(distances, [0.05, 0.5, 0.95])
    return abs(high + low - 2 * middle) / max(high - low, 1e-300)


def stuck(fraction: Values, value: Values, far: Chosen, device: NDArray[np.intp]) -> Stuck:
    """The devices among those with rows far off that do not follow what they are set to.

    Args:
        fraction: the set value of each over the largest one, shape (values,).
        value: what was measured over the largest set value.
        far: the rows that are far off.
        device: the number of each value's device.
    """
    count = int(device.max()) + 1
    touched = np.bincount(device, far, count) > 0

    def extremes(values: Values) -> tuple[Values, Values]:
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(low, device, values)
        np.maximum.at(high, device, values)
        return low, high

    (low, high), (lowest, highest) = extremes(value), extremes(fraction)
    zero = touched & (np.maximum(np.abs(low), np.abs(high)) < NOTHING * highest)
    unmoved = touched & (highest > 1.2 * lowest) & (high - low < UNMOVED * (highest - lowest)) & ~zero
    largest = unmoved & (low > 0.9)
    return Stuck(zero[device], largest[device], (unmoved & ~largest)[device])
