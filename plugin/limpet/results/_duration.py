"""Times since programming, in words and in seconds. Python only."""

import math
import re
from typing import Any

from .._checked import refusal
from .._errors import MetricError

UNITS = {"s": 1, "min": 60, "h": 3600, "day": 86400, "days": 86400, "week": 604800, "month": 2592000, "year": 31536000}
"""Seconds in each unit; a month has 30 days, a year 365."""
_ALSO = {"sec": "s", "second": "s", "minute": "min", "hour": "h", "d": "day"}
"""Units as people write them, too."""


def seconds(given: Any, name: str = "time") -> float:
    """A time in seconds, given as a number of them or in words.

    Args:
        given: seconds, or a number with its unit, such as "1 day".
        name: what errors call it.

    Raises:
        MetricError: it is no finite time above 0.

    Examples:
        >>> seconds("1 day"), seconds("2.5 hours"), seconds(20)
        (86400.0, 9000.0, 20.0)
    """
    number: Any = given
    if isinstance(given, str):
        found = re.fullmatch(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([a-z]*)\s*", given)
        unit = found[2] if found else ""
        singular = unit if unit in UNITS else unit.removesuffix("s")
        factor = UNITS.get(_ALSO.get(singular, singular)) if unit else 1
        try:
            number = float(found[1]) * factor if found and factor else None
        except ValueError:
            number = None
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
        reason = (
            "allowed is a number of seconds above 0, or one with its unit, such as '1 day' (s, min, h, day, week, "
            "month, year)"
        )
        raise refusal(name, given, reason, MetricError)
    return float(number)


def place_of(axis: str, value: float) -> str:
    """A place on a curve's axis, as tables and charts call it: a strength, or of the axis "time" a time in words.

    Examples:
        >>> place_of("time", 86400.0), place_of("sigma", 0.12345)
        ('1 day', '0.1235')
    """
    return words(value) if axis == "time" else f"{value:.4g}"


def words(time: float) -> str:
    """A time in the largest unit of which it is a simple multiple.

    Examples:
        >>> words(86400.0), words(9000.0), words(31536000.0), words(20.0)
        ('1 day', '2.5 h', '1 year', '20 s')
    """
    for unit in ("year", "month", "week", "day", "h", "min"):
        number = time / UNITS[unit]
        if number >= 1 and float(f"{number:.3g}") * UNITS[unit] == time:
            return f"{number:.3g} {unit}{'s' if number != 1 and unit not in ('h', 'min') else ''}"
    return f"{time:.4g} s"
