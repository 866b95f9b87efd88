"""The rows of one parameter as numbers, and the value of each device at each value to which it was set."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ._alike import Values
from ._components import Groups
from ._measurements import Measurements

Numbers = NDArray[np.intp]
Chosen = NDArray[np.bool_]

NO_VALUE = 1e-8
"""The fraction of the largest set value below which a device counts as set to 0."""
NEIGHBOURS, WIDEST = 1.1, 1.5
"""The ratios of two neighbouring times, and of the last to the first, that are taken as one time."""
FEWEST_CHIPS = 5
"""The chips on which places are compared, at least."""
FEWEST_OF_A_GROUP = 4
"""The values that a core has at least, if what they have in common is taken away before the law of the rest is
chosen."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one parameter as numbers, all of shape (values,).

    Attributes:
        fraction: the set value, as a fraction of the largest one.
        value: the measured value, as a fraction of the largest set value; below 0 where its sign is the wrong one.
        time: the seconds since the device was set; NaN where the table says none.
        chip: the number of the chip.
        core: the number of the core.
        device: the number of the device.
        place: the number of the device's place, which devices of one core and device label have on all chips.
        cell: the number of the device and set value.
        reading: the number of the device, set value and time, within which readings repeat each other.
    """

    fraction: Values
    value: Values
    time: Values
    chip: Numbers
    core: Numbers
    device: Numbers
    place: Numbers
    cell: Numbers
    reading: Numbers

    @classmethod
    def of(cls, rows: Measurements) -> "Rows":
        largest = float(np.abs(rows.nominal).max())
        fraction = np.abs(rows.nominal) / largest
        fraction[fraction < NO_VALUE] = 0.0
        value = rows.measured * np.where(rows.nominal < 0, -1, 1) / largest
        chip = numbers(rows.chip)
        core = numbers(chip, rows.core)
        device = numbers(core, rows.device)
        cell = numbers(device, np.round(fraction, 9))
        time = _together(rows.time)
        place, reading = numbers(rows.core, rows.device), numbers(cell, np.nan_to_num(time))
        return cls(fraction, value, time, chip, core, device, place, cell, reading)

    def where(self, chosen: Chosen) -> "Rows":
        """The rows that a mask chooses."""
        return Rows(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def timed(self) -> bool:
        """Whether there are several times."""
        return bool(np.isfinite(self.time).all() and np.ptp(self.time) > 0)

    @property
    def groups(self) -> Groups:
        """The groups of each level."""
        order = np.zeros(len(self.value), np.intp)
        by_reading = np.argsort(self.reading, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(self.reading[by_reading]) > 0])
        order[by_reading] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
        return Groups.among(
            chip=self.chip, core=self.core, device=self.device, setting=self.cell, time=self.reading, reading=order
        )


def _together(time: Values) -> Values:
    """Times of which those that belong together are one, their median: 98, 101 and 104 s of a bench that reads after
    100 s. They are those within 10% of a neighbour, and within 50% of the first."""
    known = np.unique(time[time > 0])
    if len(known) < 2:
        return time
    starts, first = [0], known[0]
    for place in range(1, len(known)):
        if known[place] > min(NEIGHBOURS * known[place - 1], WIDEST * first):
            starts.append(place)
            first = known[place]
    runs = np.repeat(np.arange(len(starts)), np.diff([*starts, len(known)]))
    medians = np.array([np.median(known[runs == run]) for run in range(len(starts))])
    place = np.searchsorted(known, time)
    return np.where(time > 0, medians[runs[np.minimum(place, len(known) - 1)]], time)


def numbers(*labels: NDArray) -> Numbers:
    """The number of each combination of labels, from 0 on."""
    number = np.zeros(len(labels[0]), np.intp)
    for own in labels:
        name = np.unique(own, return_inverse=True)[1].ravel()
        number = np.unique(number * (int(name.max()) + 1) + name, return_inverse=True)[1].ravel()
    return number


@dataclass(frozen=True, eq=False)
class Cells:
    """The values of each device at each set value, in the first state in which they were measured.

    Attributes:
        fraction: the set value, as a fraction of the largest one, shape (cells,).
        value: the mean of the readings, over what the cell's core (or chip) has in common, relative to the rest.
        readings: the number of readings behind each.
        device: the number of each cell's device.
        place: the number of its device's place.
    """

    fraction: Values
    value: Values
    readings: Values
    device: Numbers
    place: Numbers

    @classmethod
    def of(cls, rows: Rows) -> "Cells":
        if rows.timed:
            earliest = np.full(int(rows.cell.max()) + 1, np.inf)
            np.minimum.at(earliest, rows.cell, rows.time)
            first = rows.where(rows.time == earliest[rows.cell])
        else:
            first = rows
        counts = np.bincount(first.cell)
        there = np.flatnonzero(counts)
        value = np.bincount(first.cell, first.value)[there] / counts[there]
        leading = np.zeros(len(counts), np.intp)
        leading[first.cell] = np.arange(len(first.cell))
        first_of = leading[there]
        fraction = first.fraction[first_of]
        value = _within(value, fraction, first.chip[first_of], first.core[first_of])
        return cls(fraction, value, counts[there].astype(float), first.device[first_of], first.place[first_of])

    @property
    def independent(self) -> "Cells":
        """As many cells of each device as count for one independent value each.

        What a device keeps from one set value to another is one draw, however many values it was set to. With rho the
        share of it, k values tell as much as `k / (1 + (k - 1) rho)`; so many are kept, of other set values for each
        device.
        """
        counts = np.bincount(self.device)[self.device]
        if counts.max() == 1:
            return self
        order = np.lexsort([self.fraction, self.device])
        rank = np.empty(len(order), np.intp)
        starts = np.flatnonzero(np.r_[True, np.diff(self.device[order]) > 0])
        rank[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
        ratios = self.value / self.fraction
        device = numbers(self.device)
        sizes = np.bincount(device)
        means = np.bincount(device, ratios) / sizes
        free = max(len(ratios) - len(sizes), 1)
        within = float(((ratios - means[device]) ** 2).sum()) / free
        between = float((sizes * (means - ratios.mean()) ** 2).sum()) / max(len(sizes) - 1, 1)
        typical = len(ratios) / len(sizes)
        common = max(0.0, (between - within) / (between + (typical - 1) * within)) if between else 0.0
        kept = np.maximum(1, np.round(counts / (1 + (counts - 1) * common)))
        chosen = (rank - self.device) % counts < kept
        return Cells(*(getattr(self, field.name)[chosen] for field in fields(self)))


def _within(value: Values, fraction: Values, chip: Numbers, core: Numbers) -> Values:
    """Values without what those of a core (or of a chip, where cores are small) have in common.

    What a group has in common is its gain, by least squares, drawn towards that of all by as much as chance makes gains
    differ: where groups have nothing in common, nothing is taken away.
    """
    whole = float((value * fraction).sum() / (fraction**2).sum())
    for groups in (numbers(core), numbers(chip)):  # some have no row left where devices are stuck
        sizes = np.bincount(groups)
        if len(sizes) == 1 or np.median(sizes) < FEWEST_OF_A_GROUP:
            continue
        weights = np.bincount(groups, fraction**2)
        gains = np.bincount(groups, value * fraction) / weights
        left = (value - gains[groups] * fraction) * fraction
        by_chance = np.bincount(groups, left**2) / weights**2 * sizes / np.maximum(sizes - 1, 1)
        own = max(0.0, float(((gains - whole) ** 2).sum()) / (len(sizes) - 1) - float(by_chance.mean()))
        kept = np.where(sizes > 1, own / (own + by_chance), 0.0) if own else np.zeros(len(sizes))
        gain, share = (whole + kept * (gains - whole))[groups], (kept / sizes)[groups]
        # What is left of the spread after a mean of its own values was taken away is set right again.
        return whole * (fraction + (value / gain - fraction) / np.sqrt(1 - share))
    return value


def common_place(cells: Cells) -> float:
    """The standard deviation of what devices of one place have in common on all chips, as a fraction; 0 for none seen.

    Where a layout makes some devices differ on every chip, their places' means over chips differ by more than chance.
    """
    from scipy import stats

    ratios = cells.value / cells.fraction
    devices = np.bincount(cells.device)
    there = np.flatnonzero(devices)
    means = np.bincount(cells.device, ratios)[there] / devices[there]
    places = np.zeros(len(devices), np.intp)
    places[cells.device] = cells.place
    place = numbers(places[there])
    counts = np.bincount(place)
    of_places = np.bincount(place, means) / counts
    free = len(means) - len(counts)
    if len(counts) < 2 or np.median(counts) < FEWEST_CHIPS:
        return 0.0
    within = float(((means - of_places[place]) ** 2).sum()) / free
    between = float((counts * (of_places - means.mean()) ** 2).sum()) / (len(counts) - 1)
    if within <= 0 or stats.f.sf(between / within, len(counts) - 1, free) > 1e-6:
        return 0.0
    return float(np.sqrt((between - within) / counts.mean()) / abs(means.mean()))
