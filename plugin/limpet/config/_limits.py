"""How much a configuration may hold: far more than a person writes, far less than what fills a memory."""

from typing import Any

MAX_BYTES = 500_000
"""Of a file."""
MAX_DEPTH = 50
"""Collections within collections."""
MAX_VALUES = 20_000
"""Keys and values, those that YAML's aliases repeat counted each time."""
MAX_ALIASES = 1_000
MAX_DIGITS = 300
"""Of a whole number; no larger one is a number of floating point."""


def require_within_limits(values: Any) -> None:
    """Refuse values that exceed the limits, or texts that no file can hold.

    Args:
        values: what was read: mappings, lists, numbers, texts and the like.

    Raises:
        ValueError: they do; names the key path.
    """
    count = 0
    waiting: list[tuple[Any, tuple[str, ...]]] = [(values, ())]
    while waiting:  # a loop, because what is nested too deeply would exhaust a recursion
        value, path = waiting.pop()
        count += 1
        place = f"{'.'.join(path)[:80]}: " if path else ""
        if len(path) > MAX_DEPTH:
            raise ValueError(f"{place}it is nested too deeply; allowed are {MAX_DEPTH} levels")
        if count > MAX_VALUES:
            raise ValueError(f"too many values; allowed are {MAX_VALUES:,}")
        if isinstance(value, dict):
            waiting += [(key, path) for key in value]
            waiting += [(part, (*path, key if isinstance(key, str) else "[]")) for key, part in value.items()]
        elif isinstance(value, list | tuple | set):
            waiting += [(part, (*path, "[]")) for part in value]
        elif isinstance(value, int) and value.bit_length() > MAX_DIGITS * 3.33:
            raise ValueError(f"{place}a whole number of more than {MAX_DIGITS} digits")
        elif isinstance(value, str) and not _is_unicode(value):
            raise ValueError(f"{place}{value[:80]!r} holds characters that are none (lone surrogates)")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
