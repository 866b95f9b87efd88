"""What was found for each leaf's converters: ranges of inputs, and bounds of outputs."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from .._checked import number, refusal, shown
from .._errors import LimpetError
from ._product import Product

InputRange = float | tuple[tuple[float, ...], ...]
"""The largest input of a leaf's converters: one for all of its arrays, or (matrices, row tiles)."""
InputRanges = tuple[tuple[str, InputRange], ...]
"""Ranges of inputs by leaf path."""
OutputBounds = tuple[tuple[str, float], ...]
"""Bounds of outputs by leaf path, in the units of `Converter.bound`."""


def checked_ranges(given: Any, name: str = "input_ranges") -> InputRanges:
    """Ranges of inputs by leaf path, as hashable values in the order of paths.

    Args:
        given: a mapping of leaf path to a number above 0, or to an array of them, shape (matrices, row tiles).
        name: what an error calls it.

    Raises:
        LimpetError: it is none.
    """
    return tuple((path, _range(f"{name}['{path}']", value)) for path, value in _pairs(given, name))


def checked_bounds(given: Any, name: str = "output_bounds") -> OutputBounds:
    """Bounds of outputs by leaf path, as hashable values in the order of paths.

    Args:
        given: a mapping of leaf path to a number above 0.
        name: what an error calls it.

    Raises:
        LimpetError: it is none.
    """
    return tuple((path, number(f"{name}['{path}']", value, 0, above=True)) for path, value in _pairs(given, name))


def require_takers(ranges: InputRanges, bounds: OutputBounds, product: Product | None) -> None:
    """Refuse what was found for converters that do not take it.

    Raises:
        LimpetError: there are ranges and inputs are not "learned", or bounds and no outputs with a bound.
    """
    if ranges and not (product and product.learned):
        reason = "ranges by leaf belong to a product with inputs=limpet.Converter(..., range='learned')"
        raise refusal("input_ranges", dict(ranges), reason)
    if bounds and not (product and product.outputs and product.outputs.bound is not None):
        reason = (
            "bounds by leaf belong to a product with outputs=limpet.Converter(..., bound=...), in whose place they are"
        )
        raise refusal("output_bounds", dict(bounds), reason)


def described_found(found: InputRanges | OutputBounds) -> dict[str, Any]:
    """What was found as plain values, as a configuration writes it."""
    return {path: [list(row) for row in held] if isinstance(held, tuple) else held for path, held in found}


def require_learned(ranges: Mapping[str, Any], learned: Iterable[str]) -> None:
    """Refuse ranges of leaves whose converters learn none.

    Raises:
        LimpetError: names them, and those that do.
    """
    known = list(learned)
    if stray := [path for path in ranges if path not in known]:
        raise LimpetError(
            f"ranges: {', '.join(map(repr, stray))}: allowed are leaves with a product whose inputs have the range "
            f"'learned': {', '.join(map(repr, known)) or 'there is none'}"
        )


def _pairs(given: Any, name: str) -> list[tuple[str, Any]]:
    pairs = list(given.items()) if isinstance(given, Mapping) else list(given) if isinstance(given, tuple) else None
    if pairs is None or not all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs
    ):
        raise refusal(name, given, "allowed is a mapping of leaf path to what limpet.input_ranges and the like give")
    return sorted(pairs)


def _range(name: str, given: Any) -> InputRange:
    if isinstance(given, int | float | np.number) or (isinstance(given, jax.Array | np.ndarray) and not given.ndim):
        return number(name, given, 0, above=True)
    try:
        array = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.ndim != 2 or not array.size or not (np.isfinite(array) & (array > 0)).all():
        reason = "allowed is a number above 0, or an array of them of shape (matrices, row tiles)"
        raise LimpetError(f"{name} = {shown(given)}: {reason}")
    # As float32 holds them, so that they are the same after they were written and read.
    rows: Any = array.astype(np.float32).tolist()
    return tuple(tuple(row) for row in rows)
