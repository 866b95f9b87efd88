"""A bench's table of measurements: read, checked, and every doubt about it said by line."""

import glob
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limpet import LimpetError
from limpet.checks import listing, warn_user

from ._cells import LABELS, VALUES, Table, cells_of, checked_unit, columns_of, numbers_of, places, refuse

FAR_OFF = 10.0
"""Measured values that are typically off by more than this factor are said."""
AS_A_THOUSAND = 2.5
"""A median within this factor of a power of a thousand looks like a unit that was mistaken."""

Columns = Mapping[str, str | int | Sequence[str | int] | None]
"""The titles (or places, counted from 1) of a table's columns, by the word that Limpet has for them."""
Nominal = str | float | Mapping[str, str | float]
"""What devices were set to: a quantity such as "2 pA", or one (or a column's title) for each parameter."""

ARRAYS = (*LABELS, *VALUES, "time", "reading", "unit", "line")
"""The fields of measurements that hold something for each value."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """Values that a bench measured, in the order of the table. All arrays have shape (values,).

    Attributes:
        source: the name of the file, or "table" for columns that a program holds.
        chip: the label of the chip that each value was measured on.
        core: the label of the core, within its chip; "" where the table has no cores.
        device: the label of the device (a neuron, a synapse, a cell), within its core.
        parameter: the name of the parameter that each value is of.
        nominal: the value that the device was set to, in the base unit.
        measured: the value that it had, in the base unit.
        time: the seconds since the device was programmed; NaN in all rows where the table says none.
        reading: the label that tells repeated readings of one device apart (at one set value and time); "" where the
            table says none.
        unit: the base unit of both values, such as "A"; empty where none was said.
        line: the line of the file on which each value stands (the header is line 1); of a table, the number of the row.
        ignored: names of columns that are not used.
    """

    source: str
    chip: NDArray[np.str_]
    core: NDArray[np.str_]
    device: NDArray[np.str_]
    parameter: NDArray[np.str_]
    nominal: NDArray[np.float64]
    measured: NDArray[np.float64]
    time: NDArray[np.float64]
    reading: NDArray[np.str_]
    unit: NDArray[np.str_]
    line: NDArray[np.int64]
    ignored: tuple[str, ...] = ()

    @property
    def factor(self) -> NDArray[np.float64]:
        """Measured / nominal; infinite or NaN where a device was set to 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.measured / self.nominal

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, in the order in which they come."""
        return list(dict.fromkeys(self.parameter.tolist()))

    @property
    def chips(self) -> list[str]:
        """The names of the chips, in the order in which they come."""
        return list(dict.fromkeys(self.chip.tolist()))

    def where(self, chosen: NDArray[np.bool_]) -> "Measurements":
        """The measurements that a mask of shape (values,) chooses."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in ARRAYS})

    def places(self, chosen: NDArray[np.bool_]) -> str:
        """Where the chosen values stand, as messages say it."""
        return places(self.line[chosen].tolist(), self.source)


def read_measurements(
    source: str | Path | Table,
    *,
    columns: Columns | None = None,
    nominal: Nominal | None = None,
    readings: bool = False,
) -> Measurements:
    """Read and check a bench's table.

    Args:
        source: a .csv file (separated by commas, semicolons or tabs) whose header names the columns chip, core, neuron,
            parameter, nominal and measured, in any order; or columns by name. A unit stands in a column `unit` (of
            both values of a row), or behind a name: `measured [nA]`. Other columns are not used. Lines that begin with
            # are comments.

    Raises:
        LimpetError: it cannot be read, lacks a column, or holds what cannot be meant: a text where a number belongs, a
            unit that is not known, one device's parameter twice, a nominal value of 0, units that are off by a power of
            a thousand. Says in which lines.
    """
    name, header, rows, lines = cells_of(source)
    places_of, units, ignored = columns_of(name, header)
    cells = {key: [row[place] for row in rows] for key, place in places_of.items()}
    for key in LABELS:
        empty = [line for line, cell in zip(lines, cells[key], strict=True) if not cell]
        if empty:
            refuse(name, f"{places(empty, name)}: column '{key}' is empty; name the {key} in every row")
    row_units = [
        checked_unit(name, line, cell) for line, cell in zip(lines, cells.get("unit", [""] * len(lines)), strict=True)
    ]
    numbers = {key: numbers_of(name, key, cells[key], lines) for key in VALUES}
    scales = np.array([scale for scale, _ in row_units])
    chip, core, device, parameter = (np.array(cells[key], dtype=np.str_) for key in LABELS)
    measurements = Measurements(
        source=name,
        chip=chip,
        core=core,
        device=device,
        parameter=parameter,
        nominal=numbers["nominal"] * (scales if units is None else units["nominal"][0]),
        measured=numbers["measured"] * (scales if units is None else units["measured"][0]),
        time=np.full(len(lines), np.nan),
        reading=np.full(len(lines), ""),
        unit=np.array([base if units is None else units["measured"][1] for _, base in row_units]),
        line=np.array(lines, np.int64),
        ignored=ignored,
    )
    return _checked(measurements)


def guessed_leaves(parameter: str) -> str:
    """The glob that finds a parameter's leaves, if they are called as it is."""
    return "*/" + glob.escape(parameter)


def natural_key(text: str) -> tuple[list[tuple[float, str]], str]:
    """A key that sorts labels as people do: numbers, and numbers within names, by their value, before names.

    Labels that are written differently have different keys.

    Examples:
        >>> sorted(["n10", "n2", "10", "2", "00", "0"], key=natural_key)
        ['0', '00', '2', '10', 'n2', 'n10']
    """
    number = r"-?\d+(\.\d+)?"
    pieces = [text] if re.fullmatch(number, text) else re.split(r"(\d+)", text)
    return [(float(piece), "") if re.fullmatch(number, piece) else (math.inf, piece) for piece in pieces], text


def _checked(table: Measurements) -> Measurements:
    """Measurements that can be meant; missing values are left out, and doubtful ones are said.

    Raises:
        LimpetError: see `read_measurements`.
    """
    first: dict[tuple[str, ...], int] = {}
    for *place, line in zip(table.chip, table.core, table.device, table.parameter, table.line, strict=True):
        chip, core, device, parameter = place
        if (before := first.setdefault((chip, core, device, parameter), int(line))) != line:
            refuse(
                table.source,
                f"{places([before, int(line)], table.source)}: '{parameter}' of chip {chip}, core {core}, device "
                f"{device} stands there twice; keep one row for each device and parameter (of several readings, their "
                f"mean)",
            )
    missing = np.isnan(table.nominal) | np.isnan(table.measured)
    if missing.any():
        warn_user(f"{table.source}: {table.places(missing)}: a value is missing; {_rows(missing)} left out")
        table = table.where(~missing)
    if not table.line.size:
        refuse(table.source, "no row holds both a nominal and a measured value")
    if (zero := table.nominal == 0).any():
        refuse(
            table.source,
            f"{table.places(zero)}: nominal is 0, of which no measured value is a multiple; leave these rows out",
        )
    for parameter in table.parameters:
        rows = table.where(table.parameter == parameter)
        if len(units := dict.fromkeys(rows.unit.tolist())) > 1:
            refuse(
                table.source,
                f"parameter '{parameter}' is given in {' and in '.join(unit or 'no unit' for unit in units)}; give all "
                f"of its rows one kind of unit",
            )
        _check_magnitudes(rows, parameter)
    opposite = table.factor < 0
    if opposite.any():
        warn_user(
            f"{table.source}: {table.places(opposite)}: measured has another sign than nominal, which no log-normal "
            f"deviation gives; if these devices are broken, leave them out"
        )
    if (dead := table.measured == 0).any():
        warn_user(
            f"{table.source}: {table.places(dead)}: measured is 0; if these devices are dead, leave them out, and "
            f"describe them by limpet.Stuck"
        )
    return table


def _check_magnitudes(rows: Measurements, parameter: str) -> None:
    """Look for units that were mistaken, in the whole parameter and chip by chip."""
    factors = np.abs(rows.factor)
    typical = {chip: float(np.median(factors[rows.chip == chip])) for chip in rows.chips}
    mistaken = {chip: power for chip, value in typical.items() if (power := _thousands(value))}
    if mistaken:
        chip, power = next(iter(mistaken.items()))
        where = "" if len(mistaken) == len(typical) else f" on chip {listing(mistaken, limit=6)}"
        chosen = np.isin(rows.chip, list(mistaken))
        raise LimpetError(
            f"{rows.source}: parameter '{parameter}'{where}: measured / nominal has the median {typical[chip]:.4g} "
            f"({rows.places(chosen)}), near 10^{power}, as if {_as_if(power)}: say the units, as in "
            f"'nominal [nA]' and 'measured [pA]', or correct those that are said"
        )
    whole = float(np.median(factors))
    if not 1 / FAR_OFF < whole < FAR_OFF:
        warn_user(
            f"{rows.source}: parameter '{parameter}': measured / nominal has the median {whole:.3g} "
            f"({rows.places(np.ones(rows.line.shape, bool))}); is nominal what the chip was set to?"
        )


def _as_if(power: int) -> str:
    """What a power of a thousand looks like, in the units of currents."""
    prefixes = {3: ("nA", "pA"), 6: ("uA", "pA"), 9: ("mA", "pA"), 12: ("A", "pA")}
    larger, smaller = prefixes.get(abs(power), ("one unit", "another"))
    nominal, measured = (larger, smaller) if power > 0 else (smaller, larger)
    return f"nominal were in {nominal} and measured in {measured}"


def _thousands(ratio: float) -> int:
    """The power of ten of the power of a thousand that a ratio is near; 0 where it is near none but 1."""
    if not ratio:
        return 0
    power = 3 * round(math.log10(ratio) / 3)
    return power if abs(math.log10(ratio) - power) < math.log10(AS_A_THOUSAND) else 0


def _rows(chosen: NDArray[np.bool_]) -> str:
    count = int(chosen.sum())
    return "1 row is" if count == 1 else f"{count} rows are"
