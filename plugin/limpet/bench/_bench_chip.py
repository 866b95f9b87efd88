"""A chip of a bench's table, usable where a virtual one is."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from limpet import LimpetError, MeasuredChip
from limpet.checks import listing, text

from ._cells import Table
from ._columns import Columns, Nominal
from ._measurements import Measurements, guessed_leaves, natural_key, read_measurements


def bench_chip(
    source: str | Path | Table,
    chip: str | None = None,
    *,
    leaves: Mapping[str, str] | None = None,
    name: str | None = None,
    columns: Columns | None = None,
    nominal: Nominal | None = None,
    readings: bool = False,
) -> MeasuredChip:
    """A chip of a bench's table: the factors, measured / nominal, by which it multiplies a network's own values.

    Devices are put into a leaf in the order of their cores, and of their neurons within those; numbers within their
    names count as numbers, so that neuron n10 comes after n2.

    Args:
        source: a table with the columns that `limpet.fit_measurements` takes: a .csv file, or columns by name.
        chip: the name of the chip in the table; None where it holds one.
        leaves: the path glob of the leaf that a parameter of the table is, by parameter; None, and what is not named,
            is `*/<parameter>` or the parameter itself.
        name: the name by which tables call the chip; None for its name in the table.

    Raises:
        LimpetError: the table cannot be read; it holds several chips and none is named, or has no such chip; or
            `leaves` names what was not measured, or holds what is no path glob.

    Examples:
        >>> table = {
        ...     "chip": ["A3", "A3"],
        ...     "core": [0, 0],
        ...     "device": [1, 0],
        ...     "parameter": ["gain", "gain"],
        ...     "nominal": [2.0, 2.0],
        ...     "measured": [2.2, 1.8],
        ... }
        >>> bench_chip(table).on({"gain": np.ones(2)})["gain"]
        Array([0.9, 1.1], dtype=float32)
    """
    table = read_measurements(source, columns=columns, nominal=nominal, readings=readings)
    if chip is None and len(table.chips) > 1:
        raise LimpetError(f"{table.source}: holds {len(table.chips)} chips; name one by chip=, of {_list(table.chips)}")
    if chip is not None and str(chip) not in table.chips:
        raise LimpetError(f"{table.source}: has no chip {chip!r}; it has {_list(table.chips)}")
    rows = table.where(table.chip == (table.chips[0] if chip is None else str(chip)))
    for parameter, glob in (leaves or {}).items():
        text(f"leaves[{parameter!r}]", glob)
    if unknown := [parameter for parameter in leaves or {} if parameter not in rows.parameters]:
        raise LimpetError(
            f"leaves names {_list(unknown)}, which was not measured; measured are {_list(rows.parameters)}"
        )
    globs = {parameter: guessed_leaves(parameter) for parameter in rows.parameters} | dict(leaves or {})
    factors = {globs[parameter]: _in_order(rows, parameter) for parameter in rows.parameters}
    return MeasuredChip(name or rows.chips[0], factors=factors)


def _in_order(rows: Measurements, parameter: str) -> np.ndarray:
    """The factors of a parameter, by core and device."""
    own = rows.where(rows.parameter == parameter)
    places = list(zip(map(natural_key, own.core), map(natural_key, own.device), range(len(own.line)), strict=True))
    return own.factor[[index for *_, index in sorted(places)]]


def _list(names: Collection[str]) -> str:
    return listing(map(repr, names), limit=12)
