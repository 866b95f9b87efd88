"""Which array each leaf of a model sits on: what the user says, over what the model's framework knows."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from .._checked import refusal
from .._errors import LimpetError
from ..arrays._array import Array
from ._adapters import adapter_of

Arrays = tuple[tuple[str, Array], ...]
"""By path glob, where leaves sit; the last glob that matches a leaf decides."""


def checked_arrays(given: Any, name: str = "array") -> Arrays:
    """Where leaves sit, as a user says it: one `limpet.Array` for all, or a mapping by path glob.

    Args:
        given: what the user gave.
        name: what an error calls it.

    Raises:
        LimpetError: it is neither.
    """
    if isinstance(given, Array):
        return () if given == Array() else (("*", given),)
    pairs = tuple(given.items()) if isinstance(given, Mapping) else given
    if isinstance(pairs, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], Array)
        for pair in pairs
    ):
        return pairs
    reason = "allowed are limpet.Array(...), and a mapping of path glob to limpet.Array(...)"
    raise refusal(name, given, reason)


def array_at(path: str, arrays: Mapping[str, Array]) -> Array:
    """The array of one leaf."""
    if path in arrays:
        return arrays[path]
    matching = (array for glob, array in reversed(arrays.items()) if fnmatchcase(path, glob))
    return next(matching, Array())


def arrays_of(model: Any, given: Arrays, paths: Iterable[str]) -> dict[str, Array]:
    """The array of some leaves of a model by path, with nothing left open.

    Raises:
        LimpetError: a leaf has no such axes; names it.
    """
    adapter, said = adapter_of(model), dict(given)
    leaves, known = adapter.leaves(model), adapter.arrays(model)
    found = {}
    for path in paths:
        try:
            found[path] = array_at(path, said).over(known.get(path, Array())).settled(np.shape(leaves[path]))
        except LimpetError as error:
            raise LimpetError(f"leaf '{path}': {error}") from None
    return found
