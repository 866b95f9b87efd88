"""What stands in a bench's table: rows of text, from a file or from columns, and what its columns mean."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from limpet import LimpetError
from limpet.checks import listing
from limpet.files import path_of

from ._units import UNITS, unit_of

LABELS = ("chip", "core", "device", "parameter")
VALUES = ("nominal", "measured")
MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
"""How benches write that a value is missing, in lower case."""

Table = Mapping[str, Sequence[Any]]
"""Columns by name, all of one length: a dict of lists, or a data frame."""


class Cells(NamedTuple):
    """A table as text.

    Attributes:
        source: the name of the file, or "table" for columns that a program holds.
        header: the names of its columns, as they stand there.
        rows: for each row, a text for each column.
        lines: where each row stands in the file; of a table, its number.
    """

    source: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]


def cells_of(source: str | Path | Table) -> Cells:
    """The texts of a bench's table.

    Args:
        source: a .csv file, or columns by name.

    Raises:
        LimpetError: it cannot be read, or its rows or columns differ in length.
    """
    return _read_csv(path_of(source)) if isinstance(source, str | Path) else _read_table(source)


def _read_csv(path: Path) -> Cells:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LimpetError(f"{path}: cannot be read ({error.strerror or error})") from None
    if b"\0" in data:
        raise LimpetError(f"{path}: is no text; needed is a .csv file with the columns {', '.join(LABELS + VALUES)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")  # as spreadsheets on Windows write the micro sign
    # Comments become empty lines, so that all others keep their numbers.
    kept = ["" if line.lstrip().startswith("#") else line for line in text.splitlines()]
    first = next((line for line in kept if line.strip()), None)
    if first is None:
        raise LimpetError(f"{path}: is empty; needed are the columns {', '.join(LABELS + VALUES)}")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO("\n".join(kept)), delimiter=delimiter, skipinitialspace=True)
    header: list[str] = []
    rows, lines, uneven = [], [], []
    try:
        for fields in reader:
            cells = [cell.strip() for cell in fields]
            if not any(cells):
                continue
            if not header:
                header = cells
                continue
            extra = cells[len(header) :]
            if len(cells) < len(header) or any(extra):
                uneven.append(reader.line_num)
            rows.append(cells[: len(header)])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise LimpetError(f"{path}, line {reader.line_num}: cannot be read ({error})") from None
    if uneven:
        refuse(str(path), f"{places(uneven, str(path))}: allowed are {len(header)} fields, as the header has")
    return Cells(str(path), header, rows, lines)


def _read_table(table: Any) -> Cells:
    try:
        columns = {str(name): ["" if cell is None else str(cell).strip() for cell in table[name]] for name in table}
    except (TypeError, KeyError, IndexError):
        raise LimpetError(
            f"measurements: got {type(table).__name__}; give the path of a .csv file, or columns by name (a dict of "
            f"lists, or a data frame)"
        ) from None
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        raise LimpetError(f"table: columns differ in length: {', '.join(f'{n} {c}' for n, c in lengths.items())}")
    rows = [list(cells) for cells in zip(*columns.values(), strict=True)]
    return Cells("table", list(columns), rows, list(range(1, len(rows) + 1)))


def columns_of(
    name: str, header: list[str]
) -> tuple[dict[str, int], dict[str, tuple[float, str]] | None, tuple[str, ...]]:
    """The place of each column, the units that nominal and measured are given in (None if not there), and the rest."""
    places: dict[str, int] = {}
    units: dict[str, tuple[float, str]] = {}
    ignored = []
    for place, title in enumerate(header):
        match = re.fullmatch(r"(.*?)\s*[\[(]([^\])]*)[\])]", title)
        key, suffix = (match[1], match[2]) if match else (title, None)
        key = key.strip().lower()
        key = "device" if key == "neuron" else key
        if key not in (*LABELS, *VALUES, "unit"):
            ignored.append(title)
            continue
        if key in places:
            refuse(name, f"there are two columns '{key}'; keep one")
        places[key] = place
        if suffix is not None and key in VALUES:
            units[key] = checked_unit(name, 1, suffix)
    if lacking := [key for key in (*LABELS, *VALUES) if key not in places]:
        has = listing([repr(title) for title in header], limit=12)
        hint = "; where a chip has no cores, write one and the same core in every row" if "core" in lacking else ""
        refuse(name, f"has no column {' and no column '.join(map(repr, lacking))}; it has {has}{hint}")
    if units and "unit" in places:
        refuse(name, "units stand in a column 'unit' and behind the names of columns; keep one of the two")
    if units and len(units) < 2:
        (alone,) = units
        other = VALUES[1 - VALUES.index(alone)]
        refuse(name, f"'{alone}' has a unit and '{other}' has none; give both, as '{other} [nA]'")
    if units and len({base for _, base in units.values()}) > 1:
        refuse(name, f"nominal is in {units['nominal'][1]} and measured in {units['measured'][1]}; give one kind")
    return places, units or None, tuple(ignored)


def numbers_of(name: str, key: str, cells: list[str], lines: list[int]) -> NDArray[np.float64]:
    """The numbers of a column, NaN where one is missing."""
    numbers, wrong = [], []
    for cell, line in zip(cells, lines, strict=True):
        try:
            number = math.nan if cell.lower() in MISSING else float(cell)
        except ValueError:
            number = math.inf
        if math.isinf(number):
            wrong.append((line, cell))
        numbers.append(number)
    if wrong:
        comma = any(re.fullmatch(r"[+-]?\d+,\d+(e[+-]?\d+)?", cell, re.IGNORECASE) for _, cell in wrong)
        hint = "decimals are written with a point, 1.5" if comma else "leave the field empty where a value is missing"
        refuse(
            name,
            f"{places([line for line, _ in wrong], name)}: {key} = {wrong[0][1]!r} is no finite number; {hint}",
        )
    return np.array(numbers, np.float64)


def checked_unit(name: str, line: int, text: str) -> tuple[float, str]:
    if (unit := unit_of(text)) is None:
        refuse(name, f"{places([line], name)}: the unit {text!r} is not known; allowed are {UNITS}")
    return unit


def places(lines: Iterable[int], source: str) -> str:
    """Numbers of lines (of a table: of rows); runs of them are drawn together.

    Examples:
        >>> places([2, 3, 4, 9], "a.csv"), places([5], "table")
        ('lines 2 to 4, 9', 'row 5')
    """
    lines = sorted(lines)
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    texts = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}" for a, b in runs]
    word = "row" if source == "table" else "line"
    return f"{word}{'s' if len(lines) > 1 else ''} {listing(texts, limit=8)}"


def refuse(source: str, problem: str) -> NoReturn:
    raise LimpetError(f"{source}: {problem}")
