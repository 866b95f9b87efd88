"""The titles of a bench's table: which column a title names, and the unit behind it."""

import re
from numbers import Integral
from typing import Any, Literal, NamedTuple

from limpet.checks import listing, shown

from ._cells import Cells, refuse
from ._units import NUMBER, TIME_UNITS, UNITS, Unit, time_unit_of, unit_of

ALSO = {"neuron": "device"}
"""Other names of a word."""
NAMES = frozenset({"GS", "MS", "as", "fs", "ks", "Gs", "Ms"})
"""What could be a unit, but is more often a part of a name behind a line: V_GS, I_fs."""

Kind = Literal["label", "value", "time"]
"""What a column holds, which says what units stand behind its title."""


class Column(NamedTuple):
    """A column: its place, its title, the title without the unit, and the unit."""

    place: int
    title: str
    name: str
    unit: Unit | None


class Header:
    """The titles of a table, of which each is used for one word."""

    def __init__(self, cells: Cells) -> None:
        self.source, self.titles, self.is_file = cells.source, cells.header, cells.is_file
        self.used: dict[int, str] = {}
        self.once: set[int] = set()

    def find(self, title: Any, kind: Kind) -> Column | None:
        """The column that a title names: the whole title, or the title without its unit.

        Raises:
            LimpetError: there are several, or its unit is not known.
        """
        if isinstance(title, Integral) and self.is_file:
            if not 1 <= int(title) <= len(self.titles):
                refuse(self.source, f"has no column {title}; it has columns 1 to {len(self.titles)}")
            return self._at(int(title) - 1, kind, whole=True)
        wanted, names = str(title).strip(), [split_title(each, kind)[0] for each in self.titles]
        for titles, fold in ((self.titles, str), (self.titles, str.casefold), (names, str.casefold)):
            found = [place for place, each in enumerate(titles) if fold(each) == fold(wanted)]
            if len(found) > 1:
                refuse(self.source, f"there are two columns {shown(wanted)}; keep one, or change a title")
            if found:
                return self._at(found[0], kind, whole=titles is self.titles)
        return None

    def _at(self, place: int, kind: Kind, whole: bool) -> Column:
        title = self.titles[place]
        name, text, sure = split_title(title, kind)
        if kind == "label" or text is None:
            return Column(place, title, name, None)
        if (unit := _unit(text, kind)) is None:
            if whole and not sure:  # "current (at 25 degrees)" is what the column is called
                return Column(place, title, title, None)
            known = TIME_UNITS if kind == "time" else UNITS
            hint = "; columns={'time': None} (--column time=) leaves it out" if kind == "time" and not whole else ""
            refuse(
                self.source, f"column {shown(title)}: the unit {shown(text)} is not known; allowed are {known}{hint}"
            )
        return Column(place, title, name, unit)

    def use(self, title: Any, word: str, kind: Kind) -> Column:
        """The column that a user named.

        Raises:
            LimpetError: there is none, or it is used already.
        """
        if (column := self.find(title, kind)) is None:
            self.check_there()
            refuse(self.source, f"has no column {shown(title)}, which is to be {word}; it has {self.listed()}")
        before = self.used.setdefault(column.place, word)
        if column.place in self.once or before != word:
            refuse(self.source, f"column {shown(column.title)} is named twice, for {before} and for {word}; keep one")
        if word != "nominal":  # several parameters may have been set to the values of one column
            self.once.add(column.place)
        return column

    def own(self, word: str) -> Column | None:
        """The column that has Limpet's own name for a word, unless it is used already."""
        names = [word, *(name for name, meant in ALSO.items() if meant == word)]
        columns = [column for name in names if (column := self.find(name, kind_of(word)))]
        columns = [column for column in columns if column.place not in self.used]
        if len(columns) > 1:
            titles = " and ".join(shown(column.title) for column in columns)
            refuse(self.source, f"has the columns {titles}, which are two names of one; keep one")
        if columns:
            self.used[columns[0].place] = word
        return columns[0] if columns else None

    def check_there(self, likely: bool = False) -> None:
        """Refuse a file whose first row seems to be data.

        Args:
            likely: whether one number is enough for that, as where no title is known.
        """
        numbers = [re.fullmatch(NUMBER, title) is not None for title in self.titles if title]
        if self.is_file and (all(numbers) or (likely and any(numbers))):
            row = listing((shown(title, 40)[1:-1] for title in self.titles), limit=12)
            refuse(
                self.source,
                f"seems to have no header, as its first row is {row}; say by their places which columns these are, as "
                f"columns={{'chip': 1, 'device': 2, 'measured': 3}} (--no-header --column chip=1 ...)",
            )

    def listed(self) -> str:
        return listing((shown(title, 40) for title in self.titles), limit=12)


def kind_of(word: str) -> Kind:
    return "time" if word == "time" else "value" if word in ("nominal", "measured") else "label"


def split_title(title: str, kind: Kind) -> tuple[str, str | None, bool]:
    """A title without its unit, the unit behind it, and whether that can be nothing but a unit."""
    if found := re.fullmatch(r"(.*?)\s*(?:\[([^\]]*)\]|\(([^)]*)\))", title):
        sure = found[2] is not None
        return found[1], (found[2] if sure else found[3]), sure
    if kind != "label":
        for pattern, is_sure in ((r"(.+?)(?:\s+/\s+|,\s+|\s+in\s+)(\S+)", True), (r"(.+)[/_](\S+)", kind == "time")):
            found = re.fullmatch(pattern, title)
            # Of V_s or I/V, one letter is more often a part of the name.
            likely = found and (is_sure or (len(found[2]) > 1 and found[2] not in NAMES))
            if found and likely and _unit(found[2], kind) is not None:
                return found[1], found[2], True
    return title, None, False


def _unit(text: str, kind: Kind) -> Unit | None:
    return time_unit_of(text) if kind == "time" else unit_of(text)
