"""Mismatch as it was measured."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from .._checked import number, refusal
from .._errors import LimpetError
from .._files import path_of
from ..draws._strength import checked_strength
from ..results._npz_file import arrays_of
from ._deviation import Deviation
from ._draw import Draw

MOST_SAMPLES = 100_000
"""A deviation carries its samples with it; beyond so many, a distribution fitted to them is no worse."""


@dataclass(frozen=True)
class Empirical(Deviation):
    """Relative mismatch of measured devices: `value * (1 + strength * (f - 1))`, f a measured factor for each element.

    Factors are measured / nominal, so 1 is a device that does what it should. One is drawn from the samples, each as
    likely as another; with a `bandwidth` h, a normal number of standard deviation h is added: the density is then what
    a kernel estimate gives.

    Attributes:
        factors: measured / nominal, one for each device; finite.
        bandwidth: h, a finite number >= 0. `Empirical.of(..., bandwidth="silverman")` takes Silverman's rule.

    Raises:
        LimpetError: there are fewer than 2 factors, more than 100,000, or one is no finite number.
        StrengthError: `bandwidth` is no such number.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, Empirical((0.9, 1.0, 1.3)))
        >>> sorted(set(mismatch(jax.random.key(0), {"w": jnp.ones(50)})["w"].round(4).tolist()))
        [0.8999..., 1.0, 1.29999...]
    """

    factors: tuple[float, ...]
    bandwidth: float = 0.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "bandwidth", checked_strength(self.bandwidth, f"{name}.bandwidth"))
        given = self.factors if isinstance(self.factors, tuple | list) else ()
        factors = np.array([number(f"{name}.factors", factor, error=LimpetError) for factor in given])
        if not 2 <= len(factors) <= MOST_SAMPLES:
            reason = f"allowed are 2 to {MOST_SAMPLES:,} finite numbers, measured / nominal"
            raise refusal(f"{name}.factors", self.factors, reason)
        object.__setattr__(self, "factors", tuple(factors.tolist()))

    @classmethod
    def of(cls, source: str | Path, column: str = "factor", bandwidth: float | str = 0.0) -> Self:
        """The deviation that a file of measurements holds.

        Args:
            source: a .csv file with a header, or an .npz file.
            column: the column, or the array, that holds factors (measured / nominal).
            bandwidth: the kernel's h; "silverman" for `0.9 * min(s, IQR / 1.34) * n ** -0.2`.

        Raises:
            LimpetError: the file cannot be read, has no such column, or a row that is no number.
        """
        factors = _read(path_of(source), column)
        width = _silverman(factors) if bandwidth == "silverman" else bandwidth
        return cls(tuple(factors.tolist()), width)  # pyright: ignore[reportArgumentType]

    @property
    def elementwise(self) -> bool:
        return True

    @property
    def relative(self) -> bool:
        return True

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        changes = jnp.asarray(np.sort(self.factors) - 1, value.dtype)  # sorted: the mirror image has the opposite ranks
        place = jnp.floor(draw.uniform(value.shape, value.dtype) * len(self.factors)).astype(jnp.int32)
        change = changes[jnp.minimum(place, len(self.factors) - 1)]
        if self.bandwidth:
            change += draw.stream("kernel").normal(value.shape, jnp.asarray(self.bandwidth, value.dtype))
        return value + value * (change * strength)


def _silverman(factors: np.ndarray) -> float:
    low, high = np.quantile(factors, [0.25, 0.75])
    spread = min(factors.std(ddof=1), (high - low) / 1.34) or factors.std(ddof=1)
    return float(0.9 * spread * len(factors) ** -0.2)


def _read(path: Path, column: str) -> np.ndarray:
    try:
        if path.suffix == ".npz":
            held = _held(path)
            if column not in held:
                raise LimpetError(f"{path}: has no array '{column}'; it has {', '.join(held)}")
            return np.asarray(held[column], np.float64).ravel()
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if column not in (rows.fieldnames or ()):
                raise LimpetError(f"{path}: has no column '{column}'; it has {', '.join(rows.fieldnames or ())}")
            return np.array([_number(path, line, row[column]) for line, row in enumerate(rows, 2)])
    except LimpetError:
        raise
    except Exception as error:
        raise LimpetError(f"{path}: cannot be read: {type(error).__name__}: {error}") from None


def _held(path: Path) -> dict[str, np.ndarray]:
    try:
        return arrays_of(path)
    except LimpetError as error:
        raise LimpetError(f"{path}: cannot be read: {error}") from None


def _number(path: Path, line: int, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise LimpetError(f"{path}, line {line}: {text!r} is no number") from None
