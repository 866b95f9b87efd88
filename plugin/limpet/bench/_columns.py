"""What the columns of a bench's table mean: the words that Limpet has for them, their titles, and their units."""

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from limpet import LimpetError
from limpet.checks import shown

from ._cells import Cells, refuse
from ._header import ALSO, Column, Header, kind_of
from ._units import UNITS, Unit, quantity_of, time_of

LABELS = ("chip", "core", "device", "parameter", "reading")
JOINED = ("chip", "core", "device")
"""Labels that may stand in several columns, as a die has a wafer and a number."""
SPREAD = ("nominal", "time", "reading", "parameter")
"""Words by which several columns of measured values may differ."""
WORDS = ("chip", "core", "device", "parameter", "nominal", "measured", "unit", "time", "reading")
NUMBERED = {
    "chip": "where all values are of one chip, columns={'chip': None} (--column chip=) says so",
    "device": "where each row is a device, columns={'device': None} (--column device=) says so",
}
"""The columns that a table need not have, and how that is said."""
REQUIRED = ("chip", "device", "measured", "nominal")

Columns = Mapping[str, Any]
"""The title of each column (or its place, counted from 1, where a file has no titles), by the word that Limpet has for
it; several titles where a label or the measured values stand in several columns; None for a column to leave out."""
Nominal = str | float | Mapping[str, str | float]
"""What devices were set to: a quantity such as "2 pA" or a column's title, of all values or for each parameter."""


class SetTo(NamedTuple):
    """What devices were set to: one value, or a column.

    Attributes:
        said: how it was said, or the title of its column.
        unit: its unit, None where none was said.
        value: its number.
        place: the place of the column that holds it, None where it is one number.
    """

    said: str
    unit: Unit | None
    value: float = math.nan
    place: int | None = None


class Values(NamedTuple):
    """One column of measured values.

    Attributes:
        title: its title.
        place: its place.
        unit: the unit of its values, None where its title says none.
        nominal: what its devices were set to; by the name of the parameter where that differs.
        time: the time at which they were measured, None where its title does not say it.
        reading: the label of the reading, None where its title does not say it.
        parameter: the name of the parameter, None where a column holds it.
    """

    title: str
    place: int
    unit: Unit | None
    nominal: SetTo | Mapping[str, SetTo]
    time: float | None = None
    reading: str | None = None
    parameter: str | None = None


class Layout(NamedTuple):
    """Where a table holds what.

    Attributes:
        labels: the places of the columns that make up a label, by its word.
        values: the columns of measured values.
        unit: the place of the column of units, None where there is none.
        time: the place of the column of times, None where there is none.
        time_unit: the unit of the times, None where the title says none.
        ignored: the titles of columns that are not used.
    """

    labels: dict[str, list[int]]
    values: list[Values]
    unit: int | None
    time: int | None
    time_unit: Unit | None
    ignored: tuple[str, ...]


def checked_columns(columns: Any) -> dict[str, Any]:
    """The titles that a user gave, by word: None, one, or a list of them.

    Raises:
        LimpetError: a word is none, or what stands for it is no title.
    """
    if columns is not None and not isinstance(columns, Mapping):
        example = "{'chip': 'die', 'device': ['row', 'col'], 'measured': 'current'}"
        raise LimpetError(f"columns = {shown(columns)}: allowed is a mapping from words to titles, as {example}")
    checked: dict[str, Any] = {}
    for key, given in (columns or {}).items():
        word = ALSO.get(key, key)
        if word not in WORDS:
            raise LimpetError(f"columns names {shown(key)} (--column); allowed are {', '.join(WORDS)}")
        if word in checked:
            raise LimpetError("columns names 'device' and 'neuron', which are two names of one; keep one")
        several = isinstance(given, list | tuple)
        titles = list(given) if several else [given]
        where = f"columns[{key!r}] = {shown(given)}"
        if given is not None and not (titles and all(map(_is_title, titles))):
            raise LimpetError(f"{where}: allowed is the title of a column, its place counted from 1, or a list of them")
        if several and word == "measured":
            raise LimpetError(
                f"{where}: where measured values stand in several columns, say what their titles are, as "
                f"columns={{'nominal': [...]}}; allowed are {', '.join(SPREAD)}"
            )
        if several and word not in (*JOINED, *SPREAD):
            raise LimpetError(f"{where}: allowed is one title")
        checked[word] = titles if several else given
    if len(spread := [word for word in SPREAD if isinstance(checked.get(word), list)]) > 1:
        raise LimpetError(
            f"columns: measured values differ from column to column by {' and by '.join(spread)}; allowed is one of "
            f"these, so that the others need a column of their own"
        )
    return checked


def _is_title(title: Any) -> bool:
    return isinstance(title, str | Real) and not isinstance(title, bool)


def is_headerless(columns: Mapping[str, Any]) -> bool:
    """Whether columns are named by places alone, as of a file without titles."""
    titles = [title for given in columns.values() if given is not None for title in _listed(given)]
    return bool(titles) and all(isinstance(title, Integral) for title in titles)


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def layout_of(cells: Cells, columns: Mapping[str, Any], nominal: Any) -> Layout:
    """Where a table holds what.

    Args:
        cells: the table.
        columns: the titles of its columns, by word; see `checked_columns`.
        nominal: what devices were set to, as the user gave it; None where a column or titles say it.

    Raises:
        LimpetError: a column is lacking, is there twice, or has a unit that is not known; or it cannot be told what
            devices were set to.
    """
    header = Header(cells)
    spread = next((word for word in SPREAD if isinstance(columns.get(word), list)), None)
    found: dict[str, list[Column]] = {}
    for word, given in columns.items():
        kind = "value" if word == spread else kind_of(word)
        found[word] = [] if given is None else [header.use(title, word, kind) for title in _listed(given)]
    for word in WORDS:
        if word not in columns:
            found[word] = [column] if (column := header.own(word)) else []
    if isinstance(nominal, Mapping) and nominal and spread is None and not found["measured"]:
        spread = "parameter"
        found[spread] = [header.use(title, spread, "value") for title in nominal]
    _check_lacking(cells, header, columns, nominal, found, spread)
    settings = None if spread == "nominal" else _settings(header, nominal, found["nominal"], spread)
    values = [_values(cells.source, column, spread, settings) for column in found[spread or "measured"]]
    if spread is not None:
        found[spread] = []
    if spread != "parameter" and not found["parameter"]:
        name = found["measured"][0].name if found["measured"] else "value"
        untitled = name.casefold() == "measured" or is_headerless(columns)
        values = [each._replace(parameter="value" if untitled else name) for each in values]
    unit, time = found["unit"], found["time"]
    return Layout(
        {word: [column.place for column in found[word]] for word in LABELS if found[word]},
        values,
        unit[0].place if unit else None,
        time[0].place if time else None,
        time[0].unit if time else None,
        tuple(title for place, title in enumerate(cells.header) if title and place not in header.used),
    )


def _check_lacking(
    cells: Cells,
    header: Header,
    columns: Mapping[str, Any],
    nominal: Any,
    found: Mapping[str, list[Column]],
    spread: str | None,
) -> None:
    source = cells.source
    if spread is not None and found["measured"]:
        title = shown(found["measured"][0].title)
        refuse(
            source,
            f"measured values stand in columns that differ by {spread}, and in {title}; columns={{'measured': "
            f"None}} (--column measured=) leaves that one out",
        )
    if nominal is not None and found["nominal"]:
        hint = "" if "nominal" in columns else "; columns={'nominal': None} (--column nominal=) leaves the column out"
        title = shown(found["nominal"][0].title)
        refuse(source, f"nominal = {shown(nominal)} is given, and by column {title}; keep one of the two{hint}")
    lacking = [word for word in REQUIRED if not found[word]]
    lacking = [word for word in lacking if word != "measured" or spread is None]
    lacking = [word for word in lacking if word != "nominal" or nominal is None]
    lacking = [word for word in lacking if word not in NUMBERED or columns.get(word, ...) is not None]
    if not lacking:
        return
    header.check_there(likely=not columns and not header.used)
    hint = f"say which it is, as columns={{'{lacking[0]}': 'title'}} (--column {lacking[0]}=TITLE)"
    if lacking[0] in NUMBERED:
        hint += f"; {NUMBERED[lacking[0]]}"
    if lacking == ["nominal"]:
        hint = (
            "say what devices were set to, as nominal='2 pA' (--nominal '2 pA'), or which column holds it, as "
            "columns={'nominal': 'title'} (--column nominal=TITLE)"
        )
    refuse(source, f"has no column {' and no column '.join(map(repr, lacking))}; it has {header.listed()}: {hint}")


def _settings(header: Header, nominal: Any, columns: list[Column], spread: str | None) -> SetTo | Mapping[str, SetTo]:
    """What devices were set to; by the name of the parameter where the user said so."""
    if nominal is None:
        return SetTo(columns[0].title, columns[0].unit, place=columns[0].place)
    if not isinstance(nominal, Mapping):
        return _set_to(header, nominal, "nominal")
    settings = {}
    for key, given in nominal.items():
        name = str(key)
        if spread == "parameter":
            column = header.find(key, "value")
            name = column.name if column else name
        settings[name] = _set_to(header, given, f"nominal[{key!r}]")
    return settings


def _set_to(header: Header, given: Any, where: str) -> SetTo:
    if isinstance(given, Real) and not isinstance(given, bool) and math.isfinite(given):
        return SetTo(str(given), None, float(given))
    quantity = quantity_of(given) if isinstance(given, str) else None
    column = header.find(given, "value") if isinstance(given, str) else None
    if quantity and column:
        refuse(header.source, f"{where} = {shown(given)} is a quantity, and the title of a column; change the title")
    if quantity:
        return SetTo(str(given), quantity[1], quantity[0])
    if column is None:
        raise LimpetError(
            f"{where} = {shown(given)}: allowed is a quantity, such as '2 pA' (units are {UNITS}), or the title of a "
            f"column of {header.source}, which has {header.listed()}"
        )
    column = header.use(column.title, "nominal", "value")
    return SetTo(column.title, column.unit, place=column.place)


def _values(source: str, column: Column, spread: str | None, settings: Any) -> Values:
    """A column of measured values, and what its title says of them."""
    values = Values(column.title, column.place, column.unit, settings)
    if spread == "nominal":
        if (quantity := quantity_of(column.name)) is None:
            refuse(
                source,
                f"column {shown(column.title)}: its title is no set value; write it as '10 uS', in which its values "
                f"are too, or as '10 uS [nS]'",
            )
        number, unit = quantity
        set_to = SetTo(column.title, unit or column.unit, number)
        return values._replace(unit=column.unit or unit, nominal=set_to)
    if spread == "time":
        time = time_of(column.name)
        if time is None or time < 0 or (column.unit is not None and column.unit[1] == "s"):
            refuse(source, f"column {shown(column.title)}: its title is no time; write it as '1 h', or as '1 h [nA]'")
        return values._replace(time=time)
    if spread == "reading":
        return values._replace(reading=column.name)
    return values._replace(parameter=column.name) if spread == "parameter" else values
