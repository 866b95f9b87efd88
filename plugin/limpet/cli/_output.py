"""What the commands print: text and tables for people, JSON for machines."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_UNLIMITED = 10_000
"""Columns of a pipe or a file: nothing is wrapped there, so that each line stays one line for grep."""


def show(*parts: "RenderableType") -> None:
    """Print texts and tables: with colour on a terminal, plain otherwise."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_UNLIMITED)
    for part in parts:
        if console.is_terminal:
            console.print(part, soft_wrap=isinstance(part, str))
        else:
            print(_without_padding(console, part))


def table(columns: Mapping[str, str], rows: Iterable[Iterable[Any]]) -> "Table":
    """A table of text.

    Args:
        columns: the side to which each column is aligned, "left" or "right", by header.
        rows: cells: strings, or `rich.text.Text` where they carry a style.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for header, justify in columns.items():
        # Long leaf paths are folded, not cut: the whole name can be copied.
        made.add_column(header, justify="right" if justify == "right" else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


def write_json(value: Any) -> None:
    """Print JSON with numbers unrounded; NaN and infinities are the strings "NaN", "Infinity" and "-Infinity".

    Strict parsers refuse bare NaN. `float()` of Python and `Number()` of JavaScript take those strings.
    """
    json.dump(_strict(value), sys.stdout, indent=2, allow_nan=False, default=str)
    print()


def number_format(values: Iterable[float]) -> Callable[[float], str]:
    """How to write numbers of one column: with four significant digits of the largest, and the same decimals."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest and not 1e-3 <= largest < 1e5:
        return lambda value: f"{value:.3e}"
    decimals = min(4, max(0, 3 - math.floor(math.log10(largest)))) if largest else 1
    return lambda value: f"{value:.{decimals}f}"


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _without_padding(console: "Console", part: "RenderableType") -> str:
    with console.capture() as captured:
        console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
