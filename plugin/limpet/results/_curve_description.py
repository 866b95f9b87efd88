"""What stands beside a curve's values in a file: read back, and each entry checked before anything is made of it."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._errors import MetricError

_LARGEST_CHIP = 2**32


def checked_description(description: Any) -> dict[str, Any]:
    """The arguments of a `RobustnessCurve`, without its values, that a file holds.

    Args:
        description: as it was read: JSON text, or what that stands for.

    Raises:
        MetricError: it is none, or an entry is not what a curve can have.
    """
    if isinstance(description, str | bytes):
        try:
            description = json.loads(description)
        except (ValueError, RecursionError) as error:
            raise MetricError(f"its description is no JSON ({error})") from None
    if not isinstance(description, Mapping):
        raise MetricError(f"its description is a {type(description).__name__}, where a mapping is needed")
    for name, value in description.items():
        if name not in _ALLOWED:
            raise MetricError(f"its description holds {str(name)[:80]!r}, which a curve has not")
        is_allowed, words = _ALLOWED[name]
        if not is_allowed(value):
            raise MetricError(f"its description says {name} = {str(value)[:80]}; allowed is {words}")
    if "metric" not in description:
        raise MetricError("its description names no metric")
    return dict(description)


def require_numbers(values: np.ndarray, name: str) -> None:
    """Refuse an array that holds anything but real numbers.

    Raises:
        MetricError: it does.
    """
    if values.dtype.kind not in "fiu":
        raise MetricError(f"its {name} are of type {values.dtype}; needed are real numbers")


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST_CHIP


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(map(is_number, values))


def _are_chips(values: Any) -> bool:
    return isinstance(values, list) and all(map(_is_count, values))


_ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "metric": (_is_text, "a text"),
    "sigmas": (_are_numbers, "a list of finite numbers"),
    "seed": (lambda value: type(value) is int, "a whole number"),
    "higher_is_better": (lambda value: isinstance(value, bool), "true or false"),
    "axis": (lambda value: value in ("sigma", "scale", "time"), "sigma, scale or time"),
    "antithetic": (lambda value: isinstance(value, bool), "true or false"),
    "generator": (_is_text, "a text"),
    "draws_version": (_is_count, "a whole number"),
    "fingerprint": (_is_text, "a text"),
    "hardware": (_is_text, "a text"),
    "excluded_chips": (_are_chips, "a list of chip numbers"),
}
