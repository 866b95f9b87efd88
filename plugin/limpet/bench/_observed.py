"""The rows of one parameter as numbers, and the value of each device at each value to which it was set."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ._components import Groups
from ._measurements import Measurements
from ._nested import Values

Numbers = NDArray[np.intp]
Chosen = NDArray[np.bool_]

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
        cell: the number of the device and set value.
        reading: the number of the device, set value and time, within which readings repeat each other.
    """

    fraction: Values
    value: Values
    time: Values
    chip: Numbers
    core: Numbers
    device: Numbers
    cell: Numbers
    reading: Numbers

    @classmethod
    def of(cls, rows: Measurements) -> "Rows":
        largest = float(np.abs(rows.nominal).max())
        fraction = np.abs(rows.nominal) / largest
        value = rows.measured * np.where(rows.nominal < 0, -1, 1) / largest
        chip = numbers(rows.chip)
        core = numbers(chip, rows.core)
        device = numbers(core, rows.device)
        cell = numbers(device, np.round(fraction, 9))
        return cls(fraction, value, rows.time, chip, core, device, cell, numbers(cell, np.nan_to_num(rows.time)))

    def where(self, chosen: Chosen) -> "Rows":
        """The rows that a mask chooses."""
        return Rows(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def timed(self) -> bool:
        """Whether there are several times."""
        return bool(np.isfinite(self.time).all() and np.ptp(self.time) > 0)

    @property
    def groups(self) -> Groups:
        """The groups of each level; each time is a reading."""
        order = np.zeros(len(self.value), np.intp)
        by_cell = np.argsort(self.cell, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(self.cell[by_cell]) > 0])
        order[by_cell] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
        return Groups.among(self.chip, self.core, self.device, self.cell, order)


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
        freedom: the fraction of degrees of freedom that is left after what cores have in common was taken away.
    """

    fraction: Values
    value: Values
    readings: Values
    freedom: float

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
        value, freedom = _within(value, fraction, first.chip[first_of], first.core[first_of])
        return cls(fraction, value, counts[there].astype(float), freedom)


def _within(value: Values, fraction: Values, chip: Numbers, core: Numbers) -> tuple[Values, float]:
    """Values without what those of a core (or of a chip, where cores are small) have in common, and the freedom left.

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
        value = whole * (fraction + (value / gain - fraction) / np.sqrt(1 - share))
        return value, 1 - float(share.sum()) / len(value)
    return value, 1.0
