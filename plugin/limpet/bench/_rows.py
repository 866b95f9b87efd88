"""A bench's table in its long form: labels, numbers in base units, and times in seconds."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limpet.checks import listing, shown

from ._cells import MISSING, Cells, numbers_of, places, refuse
from ._columns import LABELS, Layout, SetTo, Values
from ._units import NUMBER, UNITS, Unit, time_of, unit_of

Units = tuple[NDArray[np.float64], NDArray[np.str_]]
"""For each row, how many of its base unit a unit is, and that base unit."""


def rows_of(cells: Cells, layout: Layout) -> dict[str, Any]:
    """The table in its long form, by the fields of `Measurements`: a row for each measured value, line by line."""
    labels = {word: _labels(cells, word, layout.labels.get(word, [])) for word in LABELS}
    if "chip" not in layout.labels:  # one chip, which is called after the file
        labels["chip"] = np.full(len(cells.lines), Path(cells.source).stem)
    if "device" not in layout.labels:  # each row is one
        labels["device"] = np.arange(1, len(cells.lines) + 1).astype(str)
    if layout.time is not None:
        times = _times(cells, cells.columns[layout.time], layout.time_unit)
    else:
        times = np.full(len(cells.lines), np.nan)
    units = None if layout.unit is None else _row_units(cells, cells.columns[layout.unit])
    _check_names(cells.source, layout, labels["parameter"])
    parts = [_part(cells, values, labels | {"time": times}, units) for values in layout.values]
    lines = np.repeat(np.array(cells.lines, np.int64), len(parts))
    return {name: np.stack([part[name] for part in parts], axis=1).ravel() for name in parts[0]} | {"line": lines}


def _part(cells: Cells, values: Values, shared: Mapping[str, Any], units: Units | None) -> dict[str, Any]:
    """The rows of one column of measured values, by field."""
    count, part = len(cells.lines), dict(shared)
    for word in ("parameter", "reading", "time"):
        if (said := getattr(values, word)) is not None:
            part[word] = np.full(count, said)
    part["measured"] = numbers_of(cells.source, values.title, cells.columns[values.place], cells.lines)
    part["nominal"], part["unit"] = np.full(count, np.nan), np.full(count, "", "U4")
    settings = values.nominal if isinstance(values.nominal, Mapping) else {None: values.nominal}
    for parameter, set_to in settings.items():
        rows = np.full(count, True) if parameter is None else part["parameter"] == parameter
        if parameter is not None and not rows.any():
            continue
        scale, scale_set, base = _scales(cells, values, set_to, units, rows)
        column = None if set_to.place is None else cells.columns[set_to.place]
        number = set_to.value if column is None else numbers_of(cells.source, set_to.said, column, cells.lines)[rows]
        with np.errstate(over="ignore"):
            part["measured"][rows] *= scale
            part["nominal"][rows] = number * scale_set
        part["unit"][rows] = base
    # 2 pA and 0.002 nA are one set value, which they are not in their last bits.
    part["nominal"], part["time"] = _to_fifteen_digits(part["nominal"]), _to_fifteen_digits(part["time"])
    return part


def _scales(
    cells: Cells, values: Values, set_to: SetTo, units: Units | None, rows: NDArray[np.bool_]
) -> tuple[Any, Any, Any]:
    """By what the numbers of measured and nominal values are to be multiplied, and their common base unit."""
    titles = f"{shown(values.title)} and {shown(set_to.said)}"
    if units is not None:
        if values.unit is not None or (set_to.place is not None and set_to.unit is not None):
            hint = "columns={'unit': None} (--column unit=) leaves the column out"
            refuse(cells.source, f"units stand in a column 'unit' and behind titles; keep one of the two; {hint}")
        scale, base = units[0][rows], units[1][rows]
        if set_to.unit is None:
            return scale, scale, base
        if len(other := np.array(cells.lines)[rows][base != set_to.unit[1]]):
            where, kind = places(other, cells.source), set_to.unit[1] or "no unit"
            refuse(cells.source, f"{where}: the unit is none of {kind}, in which nominal = {shown(set_to.said)} is")
        return scale, set_to.unit[0], base
    if values.unit is None and set_to.unit is None:
        return 1.0, 1.0, ""
    if values.unit is None or set_to.unit is None:
        alone, other = (values.title, set_to.said)[:: 1 if set_to.unit is None else -1]
        advice = "give both, as 'nominal [nA]'" if set_to.place is not None else "give both, or none"
        refuse(cells.source, f"{shown(alone)} has a unit and {shown(other)} has none; {advice}")
    if values.unit[1] != set_to.unit[1]:
        kinds = f"{set_to.unit[1] or 'no unit'} and measured in {values.unit[1] or 'no unit'}"
        refuse(cells.source, f"nominal is in {kinds} ({titles}); give one kind")
    return values.unit[0], set_to.unit[0], values.unit[1]


def _check_names(source: str, layout: Layout, labels: NDArray[np.str_]) -> None:
    """Refuse set values of parameters that are not there, and parameters without one."""
    here = {values.parameter for values in layout.values} - {None} or set(labels.tolist())
    for values in layout.values:
        if isinstance(values.nominal, Mapping) and here != values.nominal.keys():
            named = values.nominal.keys()
            unknown, lacking = (sorted(map(repr, names)) for names in (named - here, here - named))
            problem = f"names {listing(unknown, 6)}, which is not there" if unknown else f"lacks {listing(lacking, 6)}"
            refuse(source, f"nominal {problem}; the parameters are {listing(sorted(map(repr, here)), 12)}")


def _labels(cells: Cells, word: str, columns: Sequence[int]) -> NDArray[np.str_]:
    """The labels of each row; "" where no column holds them."""
    joined: list[str] = []
    for place in columns:
        column, title = cells.columns[place], cells.header[place]
        empty = [line for line, cell in zip(cells.lines, column, strict=True) if not cell]
        if len(empty) == len(cells.lines) and word not in ("chip", "device"):
            continue
        if empty:
            pandas = " (pandas reads NA as missing; read_csv(..., keep_default_na=False) does not)"
            hint = pandas if cells.source == "table" else ""
            called = shown(title) if title == word else f"{shown(title)} ({word})"
            where = places(empty, cells.source)
            refuse(cells.source, f"{where}: column {called} is empty; name the {word} in every row{hint}")
        joined = [f"{before}/{cell}" for before, cell in zip(joined, column, strict=True)] if joined else column
    return np.array(joined or [""] * len(cells.lines), dtype=np.str_)


def _row_units(cells: Cells, column: list[str]) -> Units:
    """The unit of each row."""
    known = {text: unit_of(text) for text in dict.fromkeys(column)}
    for text, unit in known.items():
        if unit is None:
            where = places([line for line, cell in zip(cells.lines, column, strict=True) if cell == text], cells.source)
            hint = "columns={'unit': None} (--column unit=) leaves the column out"
            refuse(cells.source, f"{where}: the unit {shown(text)} is not known; allowed are {UNITS}; {hint}")
    found = [known[text] or (1.0, "") for text in column]
    return np.array([scale for scale, _ in found]), np.array([base for _, base in found], dtype=np.str_)


def _times(cells: Cells, column: list[str], unit: Unit | None) -> NDArray[np.float64]:
    """The time of each row in seconds; NaN in all of them where all are missing."""
    known = {text: _time(text, unit) for text in dict.fromkeys(column)}
    times = np.array([known[text] for text in column], dtype=np.float64)
    lines = np.array(cells.lines)
    hint = "columns={'time': None} (--column time=) leaves the column out"
    if (wrong := ~(times >= 0) & ~np.isnan(times)).any():
        text = shown(column[int(wrong.argmax())])
        where = places(lines[wrong].tolist(), cells.source)
        refuse(
            cells.source,
            f"{where}: time = {text}: allowed are times since programming, 0 or above, in seconds or "
            f"with a unit, as '1 day' or under a title 'time [h]'; {hint}",
        )
    if (missing := np.isnan(times)).any() and not missing.all():
        where = places(lines[missing].tolist(), cells.source)
        refuse(cells.source, f"{where}: the time is missing; give it in every row, or {hint}")
    return times


def _time(text: str, unit: Unit | None) -> float:
    """A time in seconds; NaN where it is missing, and -1 where it is none."""
    if text.lower() in MISSING:
        return math.nan
    in_unit = float(text) * unit[0] if unit is not None and re.fullmatch(NUMBER, text) else None
    time = time_of(text) if unit is None else in_unit
    return -1.0 if time is None or not math.isfinite(time) else time


def _to_fifteen_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    different, places = np.unique(values, return_inverse=True)
    return np.array([float(f"{value:.15g}") for value in different])[places]
