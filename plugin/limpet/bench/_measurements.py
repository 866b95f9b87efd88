"""A bench's table of measurements: read, checked, and every doubt about it said by line."""

import glob
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limpet.checks import flag

from ._cells import Table, cells_of, places
from ._columns import LABELS, Columns, Nominal, checked_columns, is_headerless, layout_of
from ._doubts import checked
from ._rows import rows_of

ARRAYS = (*LABELS, "nominal", "measured", "time", "unit", "line")
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
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
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
        source: a table as .csv, .tsv, .txt (separated by commas, semicolons, tabs or blanks), .parquet or .xlsx
            (`bench.xlsx#sheet` where several sheets hold something), or columns by name (a dict of lists, or a data
            frame). Its columns are chip, device (or neuron), nominal and measured, in any order, and perhaps core,
            parameter, time, reading and unit. A unit stands in a column `unit` (of both values of a row), or behind a
            title: `measured [nA]`. Other columns are not used. Lines that begin with # are comments.
        columns: the titles of columns that are called otherwise, by these words: `{"chip": "die"}`; a title may be
            given without its unit. A chip, core or device may be several columns, whose labels are joined:
            `{"device": ["row", "col"]}` gives "3/7". Where measured values stand in several columns, whose titles are
            set values (times, readings, parameters), they are given for that word: `{"nominal": ["10 uS", "20 uS"]}`.
            None leaves a column out; of `chip` it says that all values are of one chip, of `device` that each row is a
            device. In a file without titles, places take their stead, counted from 1.
        nominal: the value that devices were set to where the table does not say it: a quantity such as "2 pA", or the
            title of a column; or one of these for each parameter, `{"leak": "2 pA", "gain": "Vset"}`. Where the
            table has no column of measured values, these parameters are the titles of such columns.
        readings: whether rows that agree in everything but the measured value are repeated readings, which are then
            numbered in the order in which they stand.

    Raises:
        LimpetError: it cannot be read, lacks a column, or holds what cannot be meant: a text where a number belongs, a
            unit that is not known, one value twice, only nominal values of 0, units that are off by a power of a
            thousand. Says in which lines.
    """
    flag("readings", readings)
    titles = checked_columns(columns)
    cells = cells_of(source, headerless=is_headerless(titles))
    layout = layout_of(cells, titles, nominal)
    return checked(Measurements(cells.source, ignored=layout.ignored, **rows_of(cells, layout)), numbered=readings)


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
