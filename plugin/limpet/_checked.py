"""Checks of arguments, in one wording: what the argument is called, its value, and what is allowed."""

import math
import operator
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from ._errors import LimpetError, StrengthError

Choice = TypeVar("Choice")


def shown(value: Any, longest: int = 80) -> str:
    """A value as an error message shows it: its representation in one line, cut where it is long.

    Examples:
        >>> shown(list(range(100)), longest=12)
        '[0, 1, 2, 3,...'
    """
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python refuses to write an integer of thousands of digits
        return "an integer of thousands of digits"
    return text if len(text) <= longest else f"{text[:longest]}..."


def refusal(name: str, value: Any, reason: str, error: type[LimpetError] = LimpetError) -> LimpetError:
    """The error that refuses an argument.

    Args:
        name: the name of the argument.
        value: what was given.
        reason: what is allowed, or what to do.
        error: the class of the error.
    """
    return error(f"{name} = {shown(value)}: {reason}", name, reason)


def whole(name: str, value: Any, low: int = 0, high: int | None = None, error: type[LimpetError] = LimpetError) -> int:
    """A whole number within bounds, as an int; bools are none.

    Examples:
        >>> whole("bits", 9, 1, 8)
        Traceback (most recent call last):
        limpet.LimpetError: bits = 9: allowed is a whole number from 1 to 8
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        bounds = f"from {low} on" if high is None else f"from {low} to {high}"
        raise refusal(name, value, f"allowed is a whole number {bounds}", error)
    return number


def number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    error: type[LimpetError] = StrengthError,
) -> float:
    """A finite number within bounds, as a float; bools and texts are none.

    Args:
        name: the name of the argument.
        value: what was given.
        low: the smallest number allowed.
        high: the largest number allowed.
        above: whether `low` itself is refused.
        error: the class of the error.

    Examples:
        >>> number("temperature", 0.0, low=0, above=True)
        Traceback (most recent call last):
        limpet.StrengthError: temperature = 0.0: allowed is a finite number > 0
    """
    try:
        converted = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        converted = math.nan
    if not math.isfinite(converted) or not low <= converted <= high or (above and converted == low):
        if high < math.inf:
            bounds = f"a number {'above' if above else 'from'} {low:g}{', at most' if above else ' to'} {high:g}"
        else:
            bounds = "a finite number" + ("" if low == -math.inf else f" {'>' if above else '>='} {low:g}")
        raise refusal(name, value, f"allowed is {bounds}", error)
    return converted


def one_of(name: str, value: Any, allowed: Collection[Choice], error: type[LimpetError] = LimpetError) -> Choice:
    """One of several values.

    Examples:
        >>> one_of("of", "leaf", ("value", "largest"))
        Traceback (most recent call last):
        limpet.LimpetError: of = 'leaf': allowed are 'value' and 'largest'
    """
    for choice in allowed:
        if type(value) is type(choice) and value == choice:
            return choice
    *most, last = map(repr, allowed)
    listed = f"are {', '.join(most)} and {last}" if most else f"is {last}"
    raise refusal(name, value, f"allowed {listed}", error)


def flag(name: str, value: Any, error: type[LimpetError] = LimpetError) -> bool:
    """True or False itself.

    Examples:
        >>> flag("audit", 1)
        Traceback (most recent call last):
        limpet.LimpetError: audit = 1: allowed are True and False
    """
    return one_of(name, value, (True, False), error)


def text(name: str, value: Any, error: type[LimpetError] = LimpetError) -> str:
    """A text.

    Examples:
        >>> text("name", b"a")
        Traceback (most recent call last):
        limpet.LimpetError: name = b'a': allowed is a text
    """
    if not isinstance(value, str):
        raise refusal(name, value, "allowed is a text", error)
    return value


def listing(names: Iterable[str], limit: int = 40) -> str:
    """Names as an error message shows them: separated by commas, at most `limit` of them, with a count of the rest.

    Examples:
        >>> listing(["a", "b", "c"], limit=2)
        'a, b, ... (1 more)'
        >>> listing([])
        '(none)'
    """
    names = list(names)
    if not names:
        return "(none)"
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... ({len(names) - limit} more)"
