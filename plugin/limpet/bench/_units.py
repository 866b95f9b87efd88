"""Units as benches write them: nA, pF, mV, uS; and quantities, which are numbers with a unit."""

import re

from limpet import LimpetError
from limpet.results import seconds

PREFIXES = {
    **{"a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "µ": -6, "μ": -6, "m": -3},
    **{"": 0, "k": 3, "M": 6, "G": 9},
}
"""Powers of ten by prefix; of the two signs for micro, one is Latin and one is Greek."""
BASES = {name: name for name in ("A", "F", "V", "S", "Ohm", "Hz", "s")} | dict.fromkeys(
    ("ohm", "\N{GREEK CAPITAL LETTER OMEGA}", "\N{OHM SIGN}"), "Ohm"
)
"""Base units as they are written and as Limpet writes them."""
UNITS = "A, F, V, S, Ohm, Hz and s, each with a prefix a, f, p, n, u, m, k, M or G, or with none"
"""What is understood, as messages say it."""
TIME_UNITS = "ns, us, ms, s, min, h, day, week, month and year"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"

Unit = tuple[float, str]
"""How many of its base unit a unit is, and that base unit."""


def unit_of(text: str) -> Unit | None:
    """How many of its base unit a unit is, and that base unit; None where it is none that is known.

    A number without a unit, written as an empty text or as 1, is one of itself.

    Examples:
        >>> unit_of("nA"), unit_of("s"), unit_of(""), unit_of("apples")
        ((1e-09, 'A'), (1.0, 's'), (1.0, ''), None)
    """
    text = text.strip()
    if text in ("", "1"):
        return 1.0, ""
    for base, name in BASES.items():
        prefix = text.removesuffix(base)
        if prefix != text and prefix in PREFIXES:
            return float(f"1e{PREFIXES[prefix]}"), name
    return None


def time_unit_of(text: str) -> Unit | None:
    """How many seconds a unit of time is, and "s"; None where it is none.

    Examples:
        >>> time_unit_of("ms"), time_unit_of("h"), time_unit_of("days"), time_unit_of("V")
        ((0.001, 's'), (3600.0, 's'), (86400.0, 's'), None)
    """
    if not text.strip():
        return None
    if (unit := unit_of(text)) is not None:
        return unit if unit[1] == "s" else None
    try:
        return seconds(f"1 {text.strip().lower()}"), "s"
    except LimpetError:
        return None


def quantity_of(text: str) -> tuple[float, Unit | None] | None:
    """A number and its unit, which is None where none is written; None where the text is no quantity.

    Examples:
        >>> quantity_of("2 pA"), quantity_of("-1e3"), quantity_of("2 apples")
        ((2.0, (1e-12, 'A')), (-1000.0, None), None)
    """
    if not (found := re.fullmatch(rf"\s*({NUMBER})\s*(.*?)\s*", text)):
        return None
    unit = unit_of(found[2]) if found[2] else None
    return None if found[2] and unit is None else (float(found[1]), unit)


def time_of(text: str) -> float | None:
    """A time in seconds, where a number alone is in seconds; None where the text is none. Times of 0 are allowed.

    Examples:
        >>> time_of("1 day"), time_of("5 ms"), time_of("0"), time_of("noon")
        (86400.0, 0.005, 0.0, None)
    """
    if not (found := re.fullmatch(rf"\s*({NUMBER})\s*(.*?)\s*", text)):
        return None
    unit = time_unit_of(found[2]) if found[2] else (1.0, "s")
    return None if unit is None else float(found[1]) * unit[0]


def quantity(value: float, base: str) -> str:
    """A value in its base unit, written with the prefix that suits it.

    Examples:
        >>> quantity(2.5e-10, "A"), quantity(0.0, "A"), quantity(1234.0, "")
        ('250 pA', '0 A', '1234')
    """
    if not base:
        return f"{value:.4g}"
    names = {power: prefix for prefix, power in PREFIXES.items() if prefix not in ("µ", "μ")}
    fitting = [power for power in names if abs(value) >= float(f"1e{power}") * (1 - 1e-9)]
    power = max(fitting, default=min(names)) if value else 0
    return f"{value / float(f'1e{power}'):.4g} {names[power]}{base}"
