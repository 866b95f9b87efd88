"""What stands in a bench's table, as texts: from a file or from columns that a program holds."""

import csv
import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from limpet import LimpetError
from limpet.checks import listing, shown
from limpet.files import path_of

MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none", "-"})
"""How benches write that a value is missing, in lower case. As labels, all but the empty text are names."""
INSTALL = "install it by python -m pip install 'limpet[bench]'"
SHEETS = (".xlsx", ".xlsm")
MOST_CELLS = 10_000_000
MOST_UNPACKED = 100
"""How many times larger a spreadsheet may be than its file; it is usually 5 to 20."""

Table = Mapping[str, Sequence[Any]]
"""Columns by name, all of one length: a dict of lists, or a data frame."""


class Cells(NamedTuple):
    """A table as text.

    Attributes:
        source: the name of the file, or "table" for columns that a program holds.
        header: the titles of its columns, as they stand there; the places of columns where no row holds titles.
        columns: for each title, the texts below it; "" where there is nothing.
        lines: the line of the file on which each row stands; of a table or a sheet, the number of the row.
    """

    source: str
    header: list[str]
    columns: list[list[str]]
    lines: list[int]

    @property
    def is_file(self) -> bool:
        """Whether it is a file whose first row need not hold titles."""
        return self.source != "table" and not self.source.endswith(".parquet")


def cells_of(source: str | Path | Table, headerless: bool = False) -> Cells:
    """The texts of a bench's table.

    Args:
        source: a file, or columns by name.
        headerless: whether the first row of a file is data.

    Raises:
        LimpetError: it cannot be read, or its rows or columns differ in length.
    """
    if not isinstance(source, str | Path):
        return _columns_by_name(source, "table")
    whole, sheet = path_of(source), None
    if (found := re.fullmatch(r"(.*\.xls[xm])#(.+)", str(whole), re.IGNORECASE)) and not whole.exists():
        path, sheet = Path(found[1]), found[2]
    else:
        path = whole
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LimpetError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not data.strip():
        refuse(str(path), "is empty; needed is a table of measurements")
    if path.suffix.lower() in SHEETS:
        numbered, name = _sheet_rows(path, data, sheet), str(whole)
    elif path.suffix.lower() == ".parquet":
        return _parquet(path, data)
    else:
        numbered, name = _text_rows(path, data), str(path)
    return _even(name, numbered, headerless)


def _text_rows(path: Path, data: bytes) -> list[tuple[int, list[str]]]:
    """The rows of a text file which hold something, with the line of each."""
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # "Unicode text" of spreadsheets
    if b"\0" in data and not utf16:
        refuse(str(path), "is no text; needed is a table as .csv, .tsv, .txt, .parquet or .xlsx")
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")  # as spreadsheets on Windows write the micro sign
    # Comments become empty lines, so that all others keep their numbers.
    kept = ["" if line.lstrip().startswith("#") else line for line in re.split(r"\r\n|\r|\n", text)]
    first = next((line for line in kept if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    delimiter = delimiter if delimiter in first else " "
    reader = csv.reader(io.StringIO("\n".join(kept)), delimiter=delimiter, skipinitialspace=True)
    rows = []
    try:
        for fields in reader:
            cells = [cell.strip() for cell in fields]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise LimpetError(f"{path}, line {reader.line_num}: cannot be read ({error})") from None
    return rows


def _sheet_rows(path: Path, data: bytes, sheet: str | None) -> list[tuple[int, list[str]]]:
    """The rows of a spreadsheet which hold something, with the number of each."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise LimpetError(f"{path}: spreadsheets are read by openpyxl, which is not there; {INSTALL}") from None

    def contents() -> dict[str, list[tuple[int, list[str]]]]:
        with ZipFile(io.BytesIO(data)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MOST_UNPACKED * len(data) + 1_000_000:
                refuse(str(path), "is packed more tightly than spreadsheets are; save it anew, or as .csv")
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        pages = {}
        for page in book.worksheets:
            page.reset_dimensions()  # which some programs write wrongly
            filled, count = [], 0
            for number, row in enumerate(page.iter_rows(values_only=True), 1):
                texts = _texts(row)
                while texts and not texts[-1]:
                    texts.pop()
                if texts and not texts[0].startswith("#"):
                    filled.append((number, texts))
                    count += len(texts)
                _check_size(path, count)
            width = max((len(row) for _, row in filled), default=0)
            _check_size(path, width * len(filled))
            pages[page.title] = [(number, row + [""] * (width - len(row))) for number, row in filled]
        book.close()
        return pages

    pages = _read_by_others(path, contents)
    if sheet is not None and sheet not in pages:
        refuse(str(path), f"has no sheet {sheet!r}; it has {listing(map(repr, pages), limit=12)}")
    filled = [name for name, rows in pages.items() if rows]
    if sheet is None and len(filled) > 1:
        names = listing(map(repr, filled), limit=12)
        refuse(str(path), f"holds {len(filled)} sheets, {names}; name one, as in {shown(f'{path.name}#{filled[0]}')}")
    return pages[sheet or filled[0]] if sheet or filled else []


def _parquet(path: Path, data: bytes) -> Cells:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise LimpetError(f"{path}: Parquet is read by pyarrow, which is not there; {INSTALL}") from None

    def contents() -> Any:
        file = ParquetFile(io.BytesIO(data))
        _check_size(path, file.metadata.num_rows * file.metadata.num_columns)
        return file.read()

    return _columns_by_name(_read_by_others(path, contents), str(path))


def _check_size(path: Path, count: int) -> None:
    if count > MOST_CELLS:
        refuse(str(path), f"holds more than {MOST_CELLS:,} cells; keep the columns that are needed, or save it as .csv")


def _read_by_others(path: Path, read: Callable[[], Any]) -> Any:
    """What another library reads of a file; it may raise anything where the file is damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and the like, which hold no values
            return read()
    except LimpetError:
        raise
    except Exception as error:
        reason = shown(f"{type(error).__name__}: {error}", longest=120)
        raise LimpetError(f"{path}: cannot be read; is it damaged? ({reason})") from None


def _even(source: str, numbered: list[tuple[int, list[str]]], headerless: bool) -> Cells:
    """A table of rows of one length, below their titles."""
    if not numbered:
        refuse(source, "is empty; needed is a table of measurements")
    header = numbered[0][1]
    while not header[-1]:
        header = header[:-1]
    body = numbered if headerless else numbered[1:]
    if uneven := [line for line, row in body if len(row) < len(header) or any(row[len(header) :])]:
        refuse(source, f"{places(uneven, source)}: allowed are {len(header)} fields, as the first row has")
    titles = [f"column {place}" for place in range(1, len(header) + 1)] if headerless else header
    columns = [list(column) for column in zip(*(row[: len(header)] for _, row in body), strict=True)]
    return Cells(source, titles, columns or [[] for _ in titles], [line for line, _ in body])


def _columns_by_name(table: Any, source: str) -> Cells:
    """Columns of a mapping, of a data frame (pandas, Polars, Arrow), or of a structured array."""
    try:
        names = list(_names(table))
        columns = [_column(table[name]) for name in names]
    except (TypeError, KeyError, IndexError):
        raise LimpetError(
            f"measurements: got {type(table).__name__}; give the path of a table (.csv, .tsv, .txt, .parquet or "
            f".xlsx), or columns by name (a dict of lists, or a data frame)"
        ) from None
    titles = [str(name) for name in names]
    if repeated := [title for title in titles if titles.count(title) > 1]:
        refuse(source, f"there are two columns {shown(repeated[0])}; keep one")
    lengths = {name: len(cells) for name, cells in zip(titles, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        counts = listing((f"{shown(name, 40)} {count}" for name, count in lengths.items()), limit=12)
        refuse(source, f"columns differ in length: {counts}")
    return Cells(source, titles, columns, list(range(1, max(lengths.values(), default=0) + 1)))


def _names(table: Any) -> Iterable[Any]:
    if isinstance(table, Mapping):
        return table
    for attribute in ("column_names", "columns"):  # of Arrow; of pandas and Polars
        if hasattr(table, attribute):
            return getattr(table, attribute)
    if isinstance(table, np.ndarray) and table.dtype.names:
        return table.dtype.names
    raise TypeError


def _column(column: Any) -> list[str]:
    for to_list in ("tolist", "to_list", "to_pylist"):  # NumPy and pandas, Polars, Arrow
        if hasattr(column, to_list):
            column = getattr(column, to_list)()
            break
    if isinstance(column, str):
        raise TypeError
    return _texts(column)


def _texts(cells: Iterable[Any]) -> list[str]:
    """Cells as texts: "" for None, NaN and their like; whole numbers of a column of floats without a point."""
    return [_cell(cell) for cell in cells]


def _cell(cell: Any) -> str:
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="replace").strip()
    try:
        return "" if cell is None or cell != cell else str(cell).strip()
    except TypeError:  # pandas.NA is neither equal nor unequal to itself
        return ""
    except ValueError:  # of a whole number of thousands of digits
        return shown(cell)


def numbers_of(source: str, title: str, cells: list[str], lines: list[int]) -> NDArray[np.float64]:
    """The numbers of a column, NaN where one is missing."""
    numbers, wrong = [], []
    for cell, line in zip(cells, lines, strict=True):
        try:
            number = float(cell)
        except ValueError:
            number = math.nan if cell.lower() in MISSING else math.inf
        if math.isinf(number):
            wrong.append((line, cell))
        numbers.append(number)
    if wrong:
        comma = any(re.fullmatch(r"[+-]?\d+,\d+(e[+-]?\d+)?", cell, re.IGNORECASE) for _, cell in wrong)
        hint = "decimals are written with a point, 1.5" if comma else "leave the field empty where a value is missing"
        where = places([line for line, _ in wrong], source)
        refuse(source, f"{where}: {title} = {shown(wrong[0][1])} is no finite number; {hint}")
    return np.array(numbers, np.float64)


def places(lines: Iterable[int], source: str) -> str:
    """Numbers of lines (of tables and sheets: of rows); runs of them are drawn together.

    Examples:
        >>> places([2, 3, 4, 9], "a.csv"), places([5], "table")
        ('lines 2 to 4, 9', 'row 5')
    """
    lines = sorted(set(lines))
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    texts = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}" for a, b in runs]
    word = "row" if source == "table" or re.search(r"\.(parquet|xls[xm](#.*)?)$", source.lower()) else "line"
    return f"{word}{'s' if len(lines) > 1 else ''} {listing(texts, limit=8)}"


def refuse(source: str, problem: str) -> NoReturn:
    raise LimpetError(f"{source}: {problem}")
