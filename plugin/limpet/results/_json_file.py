"""Results that are kept as JSON: written as a whole, and read with one kind of error."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .._errors import LimpetError, MetricError
from .._files import write_text

Result = TypeVar("Result")


def save_json(path: str | Path, described: Mapping[str, Any]) -> None:
    """Write plain values as JSON. A file that is there is replaced when it is done.

    Raises:
        LimpetError: the name does not end in .json.
    """
    if Path(path).suffix != ".json":
        raise LimpetError(f"{path}: give a name that ends in .json")
    write_text(path, json.dumps(described, indent=1, allow_nan=False) + "\n")


def load_json(path: str | Path, made: Callable[[Any], Result], what: str) -> Result:
    """Read what `save_json` wrote.

    Args:
        path: the name of the file.
        made: the function that makes the result of plain values.
        what: the word for the result, as errors have it.

    Raises:
        MetricError: the file is missing, or holds no such result.
    """
    try:
        return made(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise MetricError(f"{path}: holds no {what} ({error})") from None
