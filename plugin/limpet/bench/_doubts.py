"""What cannot be meant in a bench's measurements, and what is doubtful: said by line."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from limpet import LimpetError
from limpet.checks import listing, shown, warn_user
from limpet.results import words

from ._cells import refuse
from ._columns import LABELS
from ._units import quantity

if TYPE_CHECKING:
    from ._measurements import Measurements

FAR_OFF = 10.0
"""Measured values that are typically off by more than this factor are said."""
AS_A_THOUSAND = 2.5
"""A median within this factor of a power of a thousand looks like a unit that was mistaken."""
MOST_SHOWN = 4
"""Of devices in one message."""


def checked(table: "Measurements", numbered: bool) -> "Measurements":
    """Measurements that can be meant; missing values are left out, and doubtful ones are said.

    Args:
        table: the measurements as they stand in the table.
        numbered: whether those that agree in all but the measured value are readings, to be numbered.

    Raises:
        LimpetError: see `read_measurements`.
    """
    missing = np.isnan(table.nominal) | np.isnan(table.measured)
    if missing.any():
        count = int(missing.sum())
        left_out = "1 value is" if count == 1 else f"{count} values are"
        warn_user(f"{table.source}: {table.places(missing)}: a value is missing; {left_out} left out")
        table = table.where(~missing)
    if not table.line.size:
        refuse(table.source, "no row holds both a nominal and a measured value")
    if (beyond := np.isinf(table.nominal) | np.isinf(table.measured)).any():
        refuse(table.source, f"{table.places(beyond)}: a value is too large for a number, in its base unit")
    opposite = np.zeros(table.line.shape, bool)
    for parameter in table.parameters:
        rows = table.where(table.parameter == parameter)
        if len(units := dict.fromkeys(rows.unit.tolist())) > 1:
            refuse(
                table.source,
                f"parameter '{parameter}' is given in {' and in '.join(unit or 'no unit' for unit in units)}; give all "
                f"of its rows one kind of unit",
            )
        if not rows.nominal.any():
            everything = np.ones(rows.line.shape, bool)
            refuse(
                table.source,
                f"parameter '{parameter}' ({rows.places(everything)}): nominal is 0, of which no measured value is a "
                f"multiple; leave the parameter out",
            )
        _check_magnitudes(rows, parameter)
        opposite[table.parameter == parameter] = _are_large(rows.nominal) & (rows.factor < 0)
    table = _told_apart(table, numbered)
    if opposite.any():
        warn_user(
            f"{table.source}: {table.places(opposite)}: measured has another sign than nominal; is the sign the wrong "
            f"way, or are these devices broken?"
        )
    if (dead := (table.measured == 0) & (table.nominal != 0)).any():
        warn_user(f"{table.source}: {table.places(dead)}: measured is 0; are these devices dead?")
    return table


def _told_apart(table: "Measurements", numbered: bool) -> "Measurements":
    """The table, in which each device has one value for each set value, time and reading.

    Raises:
        LimpetError: it has several; says all of them at once.
    """
    if numbered and (table.reading != "").any():
        refuse(table.source, "readings = True numbers readings, and the table has labels of them; keep one of the two")
    codes = np.zeros(table.line.shape, np.int64)
    for name in (*LABELS, "nominal", "time"):
        column = getattr(table, name)
        _, own = np.unique(np.nan_to_num(column, nan=-1.0) if name == "time" else column, return_inverse=True)
        _, codes = np.unique(codes * (own.max() + 1) + own, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    first = np.r_[True, np.diff(codes[order]) > 0]
    starts = np.flatnonzero(first)
    rank = np.empty(len(codes), np.int64)
    rank[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    if numbered:
        return replace(table, reading=(rank + 1).astype(np.str_))
    counts, firsts = np.bincount(codes), order[starts]
    if (counts > 1).any():
        _refuse_repeated(table, codes, sorted(firsts[counts > 1]))
    return table


def _refuse_repeated(table: "Measurements", codes: NDArray[np.int64], firsts: list[int]) -> NoReturn:
    """Refuse values that stand there several times.

    Args:
        table: the measurements.
        codes: the number of the device, set value, time and reading of each value.
        firsts: the first value of each that stands there several times.
    """
    texts = []
    for first in firsts[:MOST_SHOWN]:
        chip, core, device, parameter = (_label(table, word, first) for word in ("chip", "core", "device", "parameter"))
        text = f"{table.places(codes == codes[first])}: '{parameter}' of chip {chip}"
        text += f", core {core}" * bool(core) + f", device {device}"
        if len(np.unique(table.nominal[table.parameter == table.parameter[first]])) > 1:
            text += f", set to {quantity(float(table.nominal[first]), str(table.unit[first]))}"
        text += "" if np.isnan(table.time[first]) else f", {words(float(table.time[first]))} after programming"
        texts.append(text + f", reading {_label(table, 'reading', first)}" * bool(table.reading[first]))
    count = len(firsts)
    more = f"; and {count - MOST_SHOWN:,} more" if count > MOST_SHOWN else ""
    advice = (
        "where these are repeated readings, number them in a column 'reading', or as they stand by readings=True "
        "(--readings); else keep one"
    )
    if (table.reading != "").any():
        advice = "keep one value for each reading"
    refuse(
        table.source,
        f"{count:,} value{'s stand' if count > 1 else ' stands'} there several times ({'; '.join(texts)}{more}): "
        f"{advice}",
    )


def _label(table: "Measurements", word: str, place: int) -> str:
    return shown(str(getattr(table, word)[place]), longest=40)[1:-1]


def _are_large(nominal: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which set values are of the larger half, where a common offset can be no multiple of them."""
    sizes = np.abs(nominal)
    return (sizes > 0) & (sizes >= (np.median(sizes[sizes > 0]) if sizes.any() else 0))


def _check_magnitudes(rows: "Measurements", parameter: str) -> None:
    """Look for units that were mistaken, in the whole parameter and chip by chip."""
    factors, typical = np.abs(rows.factor), {}
    for chip in rows.chips:
        of_chip = rows.chip == chip
        if (large := _are_large(rows.nominal[of_chip])).any():
            typical[chip] = float(np.median(factors[of_chip][large]))
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
    whole = float(np.median(factors[_are_large(rows.nominal)]))
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
    if not 0 < ratio < math.inf:
        return 0
    power = 3 * round(math.log10(ratio) / 3)
    return power if abs(math.log10(ratio) - power) < math.log10(AS_A_THOUSAND) else 0
