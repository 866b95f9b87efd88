"""Mismatch of neighbours that resembles each other."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._checked import number, one_of, refusal
from .._errors import LimpetError
from ..arrays._reductions import placed, sites
from ._deviation import Deviation, checked_level
from ._draw import Draw
from ._gaussian import Gaussian
from ._log_normal import LogNormal

MOST_BY_CHOLESKY = 2_000
"""Sites. Beyond, the factor of their covariance matrix takes too much memory, and Fourier transforms take its place."""

MOST_EMBEDDED = 2**22
"""Sites of the torus on which a field is drawn by Fourier transforms."""

Site = tuple[float, float]

Sites = Literal["columns", "rows", "devices"]
"""What lies on a field: the columns of each array, its rows, or each of its devices."""


@dataclass(frozen=True)
class Spatial(Deviation):
    """Gaussian or log-normal mismatch whose numbers are correlated between sites: neighbours deviate alike.

    The normal numbers of two sites at a distance h > 0 have the correlation `(1 - nugget) * exp(-h / length)`; the
    nugget is the share of the variance that is each site's own. Gradients of oxide thickness and doping across a die
    are such fields: Fu, Luk and Zeng, "Intra-die spatial correlation extraction with maximum likelihood estimation".

    Up to 2,000 sites are drawn by the Cholesky factor of their covariance matrix, larger grids by circulant embedding:
    C. R. Dietrich and G. N. Newsam (1997), "Fast and exact simulation of stationary Gaussian processes through
    circulant embedding of the covariance matrix", SIAM J. Sci. Comput. 18:1088.

    Attributes:
        deviation: a `Gaussian` or a `LogNormal`: what each site's factor is by itself.
        length: the distance at which the correlation has fallen to 1 / e, in the unit of the sites' positions.
        nugget: the share of the variance that is each site's own, from 0 to 1.
        grid: rows and columns of a grid on which the sites lie row by row, at a distance of 1. None: columns and rows
            lie in a line, devices on the grid of their array.
        positions: the two coordinates of each site, in place of `grid`; up to 2,000 of them.
        sites: "columns" (the neurons behind an array, or the values of a vector), "rows" or "devices" of each array;
            values at one site have the factor in common. `limpet.Array` says where arrays are. Each has a field of its
            own.
        name: the name of the level, as in `Shared`: arrays that say the same one have the same field.

    Raises:
        StrengthError: `length` is no finite number above 0, or `nugget` none from 0 to 1.
        LimpetError: another argument is none of these.

    Examples:
        >>> import limpet
        >>> field = Spatial(limpet.LogNormal(sigma=0.1), length=5.0, grid=(16, 16))
        >>> core = limpet.Mismatch({"current": True}, field)(jax.random.key(0), {"current": jnp.ones(256)})["current"]
        >>> bool(jnp.corrcoef(core[:-1], core[1:])[0, 1] > 0.5)
        True
    """

    deviation: Deviation
    length: float
    nugget: float = 0.0
    grid: tuple[int, int] | None = None
    positions: tuple[Site, ...] | None = None
    sites: Sites = "columns"
    name: str = ""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if type(self.deviation) not in (Gaussian, LogNormal):
            reason = "allowed are limpet.Gaussian and limpet.LogNormal, of whose normal numbers correlations are known"
            raise refusal(f"{name}.deviation", self.deviation, reason)
        object.__setattr__(self, "length", number(f"{name}.length", self.length, 0, above=True))
        object.__setattr__(self, "nugget", number(f"{name}.nugget", self.nugget, 0, 1))
        if self.grid is not None:
            object.__setattr__(self, "grid", _checked_grid(self.grid, f"{name}.grid"))
        if self.positions is not None:
            object.__setattr__(self, "positions", _checked_positions(self.positions, f"{name}.positions"))
            if self.grid is not None:
                raise LimpetError(f"{name}: give grid or positions, not both")
        one_of(f"{name}.sites", self.sites, get_args(Sites))
        checked_level(self.name, f"{name}.name")

    @property
    def relative(self) -> bool:
        return True

    @property
    def arranged(self) -> bool:
        return True

    @property
    def level(self) -> str:
        return self.name or "spatial"

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        if not value.size:
            return value
        common = draw.shared(self.name) if self.name else draw.exactly()
        layout = draw.array.layout(value.shape)
        *fields, rows, columns = sites(layout, self.sites, own=not self.name)
        factors = self._factors(common, math.prod(fields), (rows, columns), value, strength)
        return value * placed(factors.reshape(*fields, rows, columns), layout)

    def _factors(
        self, draw: Draw, fields: int, grid: tuple[int, int], value: jax.Array, strength: jax.Array
    ) -> jax.Array:
        """The factors of the sites of each field."""
        sites = math.prod(grid)
        held = math.prod(self.grid) if self.grid else len(self.positions) if self.positions else sites
        if held != sites:
            raise LimpetError(
                f"{type(self).__name__}.{'grid' if self.grid else 'positions'}: {held} sites for a leaf of shape "
                f"{value.shape}, whose arrays have {sites} {self.sites}"
            )
        grid = self.grid or grid
        if sites <= MOST_BY_CHOLESKY:
            factor = _factor(self.positions or _on_grid(grid), self.length, self.nugget)
            field = _of_few(draw, fields, factor, value.dtype)
        else:
            field = _of_many(draw, fields, _embedding(grid, self.length, self.nugget), value.dtype)
            field = field[:, : grid[0], : grid[1]].reshape(fields, sites)
        numbers = _Correlated(**{**vars(draw), "field": field})
        return self.deviation.deviate(numbers, jnp.ones((fields, sites), value.dtype), strength)


@dataclass(frozen=True)
class _Correlated(Draw):
    """A draw whose normal numbers are a field that is given. (Gaussian and log-normal mismatch ask for no others.)"""

    field: jax.Array = jnp.nan  # pyright: ignore[reportAssignmentType]

    def normal(self, shape: tuple[int, ...], sigma: ArrayLike = 1.0) -> jax.Array:
        return self.field * sigma

    def times_normal(self, value: jax.Array, sigma: jax.Array) -> jax.Array:
        return value * self.field * sigma


def _of_few(draw: Draw, fields: int, factor: np.ndarray, dtype: np.dtype) -> jax.Array:
    """Correlated numbers of each field, from the factor of their covariance."""
    numbers = draw.normal((fields, len(factor)), jnp.ones((), dtype))
    return jnp.matmul(numbers, jnp.asarray(factor.T, dtype), precision="highest")


def _of_many(draw: Draw, fields: int, root: np.ndarray, dtype: np.dtype) -> jax.Array:
    """Correlated numbers of each field on a torus, from the square roots of the covariance's eigenvalues."""
    numbers = draw.normal((fields, root.size), jnp.ones((), dtype)).reshape(fields, *root.shape)
    half = jnp.asarray(root[:, : root.shape[1] // 2 + 1], dtype)
    return jnp.fft.irfft2(jnp.fft.rfft2(numbers) * half, root.shape).astype(dtype)


@lru_cache(maxsize=64)
def _factor(places: tuple[Site, ...], length: float, nugget: float) -> np.ndarray:
    """The Cholesky factor of the covariance of some sites; its rows have length 1."""
    place = np.array(places, np.float64)
    apart: np.ndarray = place[:, None] - place[None, :]
    distance = np.linalg.norm(apart, axis=-1)
    covariance = _correlation(distance, length, nugget)
    # Sites at one place would make it singular.
    return np.linalg.cholesky(covariance + 1e-9 * np.eye(len(place)))


@lru_cache(maxsize=64)
def _embedding(grid: tuple[int, int], length: float, nugget: float) -> np.ndarray:
    """The square roots of the eigenvalues of the covariance on a torus that holds a grid.

    Raises:
        LimpetError: the correlation reaches so far that no torus of a size that can be drawn holds it.
    """
    size = [1 if extent == 1 else 2 ** math.ceil(math.log2(2 * extent)) for extent in grid]
    while math.prod(size) <= MOST_EMBEDDED:
        rows, columns = (np.fft.fftfreq(n, 1 / n) for n in size)
        eigenvalues = np.fft.fft2(_correlation(np.hypot.outer(rows, columns), length, nugget)).real
        if eigenvalues.min() > -1e-6 * eigenvalues.max():
            return np.sqrt(np.maximum(eigenvalues, 0)).astype(np.float32)
        size = [n if n == 1 else 2 * n for n in size]
    raise LimpetError(
        f"Spatial.length = {length:g}: on a grid of {grid[0]} x {grid[1]} sites, correlations that reach so far cannot "
        f"be drawn; allowed are shorter ones, or a name shared by the whole chip (limpet.Shared)"
    )


def _correlation(distance: np.ndarray, length: float, nugget: float) -> np.ndarray:
    return np.where(distance == 0, 1.0, (1 - nugget) * np.exp(-distance / length))


def _on_grid(grid: tuple[int, int]) -> tuple[Site, ...]:
    return tuple((float(row), float(column)) for row in range(grid[0]) for column in range(grid[1]))


def _checked_grid(grid: object, name: str) -> tuple[int, int]:
    sizes = tuple(grid) if isinstance(grid, tuple | list) else ()
    if len(sizes) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
        raise refusal(name, grid, "allowed are two whole numbers above 0, rows and columns")
    return sizes


def _checked_positions(positions: object, name: str) -> tuple[Site, ...]:
    try:
        places: Any = np.asarray(positions, np.float64)
    except (TypeError, ValueError):
        places = np.zeros(0)
    if places.ndim != 2 or places.shape[1] != 2 or not len(places) <= MOST_BY_CHOLESKY or not np.isfinite(places).all():
        reason = f"allowed are up to {MOST_BY_CHOLESKY:,} pairs of finite numbers, the coordinates of each site"
        raise refusal(name, positions, reason)
    return tuple((float(x), float(y)) for x, y in places)
