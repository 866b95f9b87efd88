"""Strengths that differ from place to place on an array."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._checked import refusal
from .._errors import LimpetError, StrengthError
from ..arrays._reductions import placed, sites
from ._deviation import Deviation
from ._draw import Draw
from ._quantize import Quantize
from ._rescaled import Rescaled
from ._shared import Shared
from ._spatial import Spatial
from ._synapse_branches import SynapseBranches
from ._systematic import Systematic


@dataclass(frozen=True)
class Graded(Rescaled):
    """A deviation whose strength differs from row to row, from column to column, or from device to device of an array.

    By Pelgrom's law a transistor that is twice as wide and twice as long deviates half as much; rows far from their
    driver and columns far from their amplifier deviate more. The strength at a place is the strength of all times the
    factors of its row, its column and its device. Every array of the leaf has the same factors.

    Attributes:
        deviation: the distribution for a factor of 1; one that each device has of its own.
        rows: the factor of each row of an array, finite numbers >= 0; one number for all rows; none for 1.
        columns: the factor of each column.
        devices: the factors of the devices, a tuple of columns for each row.

    Raises:
        StrengthError: a factor is no finite number >= 0.
        LimpetError: `deviation` is none, or is shared by several values; there are no factors; or, when drawn: arrays
            have other numbers of rows or columns.

    Examples:
        >>> import limpet
        >>> wide, narrow = (limpet.LogNormal(sigma_vth=limpet.pelgrom(5.05, width, 0.5)) for width in (4.0, 1.0))
        >>> graded = Graded(narrow, columns=(1.0, wide.sigma / narrow.sigma))
        >>> chip = limpet.Mismatch({"w": True}, graded)(jax.random.key(0), {"w": jnp.ones((10_000, 2))})["w"]
        >>> [f"{spread:.1f}" for spread in chip.std(axis=0)]
        ['0.2', '0.1']
    """

    rows: tuple[float, ...] = ()
    columns: tuple[float, ...] = ()
    devices: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        if _common(self.deviation):
            reason = "what several values have in common has no strength of each place; grade what each device has"
            raise refusal(f"{name}.deviation", self.deviation, reason)
        if isinstance(self.deviation, Quantize | Systematic):
            raise refusal(f"{name}.deviation", self.deviation, "its strength does not matter, so that no factor would")
        for key, axes in (("rows", 1), ("columns", 1), ("devices", 2)):
            object.__setattr__(self, key, _checked_factors(getattr(self, key), axes, f"{name}.{key}"))
        if not (self.rows or self.columns or self.devices):
            raise LimpetError(f"{name}: give the factors of rows, columns or devices")

    @property
    def arranged(self) -> bool:
        return True

    @property
    def relative_spread(self) -> float | None:
        spread = self.deviation.relative_spread
        if spread is None:
            return None
        return spread * math.prod(float(np.max(table)) for table in (self.rows, self.columns, self.devices) if table)

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        if not value.size:
            return value
        layout = draw.array.layout(value.shape)
        rows, columns = sites(layout, "devices")[-2:]
        of_rows, of_columns = ("rows", rows, draw.array.rows), ("columns", columns, draw.array.columns)
        factors: ArrayLike = 1.0
        if self.rows:
            factors *= self._table("rows", value, of_rows)[:rows, None]
        if self.columns:
            factors *= self._table("columns", value, of_columns)[:columns]
        if self.devices:
            factors *= self._table("devices", value, of_rows, of_columns)[:rows, :columns]
        strengths = placed(jnp.broadcast_to(factors, (1, 1, 1, 1, rows, columns)), layout)
        return self.deviation.deviate(draw, value, strength * strengths)

    def _table(self, key: str, value: jax.Array, *sizes: tuple[str, int, int | None]) -> jax.Array:
        """The factors of an array's rows, columns or devices.

        Args:
            key: the name of the field that holds them.
            value: the nominal values.
            *sizes: the word for each axis of the factors, how many the leaf's largest array has of it, and how many a
                physical one.

        Raises:
            LimpetError: they are neither one, nor as many as the largest of the leaf's arrays has, nor as a physical
                one.
        """
        table = np.array(getattr(self, key))
        for axis, (of, here, physical) in enumerate(sizes):
            given = table.shape[axis]
            if given not in (1, here, physical):
                raise LimpetError(
                    f"{type(self).__name__}.{key}: factors for {given} {of}; a leaf of shape {value.shape} has arrays "
                    f"of {here} {of}" + (f", on physical ones of {physical}" if physical else "")
                )
            if given == 1:
                table = np.repeat(table, here, axis)
        return jnp.asarray(table, value.dtype)


def _common(deviation: Deviation) -> list[Deviation]:
    """The deviations within one that several values have in common."""
    if isinstance(deviation, Shared | Spatial | SynapseBranches):
        return [deviation]
    return [common for part in deviation._held() for common in _common(part)]


def _checked_factors(given: Any, axes: int, name: str) -> Any:
    """Factors in tuples, which can be hashed.

    Raises:
        StrengthError: they are no such numbers.
    """
    try:
        table: Any = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        table = np.full((), -1.0)
    if not table.size and not table.ndim > 1:
        return ()
    if table.ndim != axes or not np.isfinite(table).all() or not (table >= 0).all():
        reason = f"allowed are finite numbers >= 0{', in a row for each row of the array' if axes > 1 else ''}"
        raise refusal(name, given, reason, StrengthError)
    return tuple(table.tolist()) if axes == 1 else tuple(map(tuple, table.tolist()))
