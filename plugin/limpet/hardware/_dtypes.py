"""What can deviate: values, shapes and types."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import PrototypeError, warn_user
from .._jax import is_traced
from ..leaves._paths import listing, require_there

FINEST = 0.9
"""The smallest sigma that a type holds, as a multiple of its epsilon (the distance from 1 to the next number).

A deviated value is rounded to the nearest number of its leaf's type. With s the standard deviation of the deviation in
units of the distance d between numbers there, rounding adds a variance of d^2 / 12 to s^2 d^2 as long as s is not far
below 1, so that the standard deviation is sqrt(1 + 1 / (12 s^2)) times what was asked: 1.05 at s = 0.9. Further below,
most values round back to the nominal one, and it falls to 0. The nominal value is between 1 / epsilon and 2 / epsilon
distances, so that s is sigma / epsilon at least.
"""


LONGEST = 2**32
"""Values along one axis at most: counters have 32 bits, and would begin anew."""


def require_countable(leaves: Mapping[str, Any]) -> None:
    """Refuse leaves so long that their random numbers would repeat. (Of many axes, each row has a key of its own.)

    Raises:
        PrototypeError: names the leaf.
    """
    for path, leaf in leaves.items():
        if max(np.shape(leaf), default=0) > LONGEST:
            raise PrototypeError(
                f"leaf '{path}' of shape {np.shape(leaf)}: allowed are {LONGEST} values along an axis; reshape it into "
                f"several axes"
            )


def require_finite(leaves: Mapping[str, Any]) -> None:
    """Refuse infinite values where they are known: off by a fraction of infinity is NaN, even by the fraction 0; and
    what is relative to the largest value of a leaf makes all of it NaN.

    Args:
        leaves: the leaves that deviate, by path.

    Raises:
        PrototypeError: names the leaves.
    """
    require_there(leaves)
    known = {
        path: leaf
        for path, leaf in leaves.items()
        if isinstance(leaf, float | np.ndarray | np.generic | jax.Array) and not is_traced(leaf)
    }
    infinite = [path for path, leaf in known.items() if getattr(leaf, "is_fully_addressable", True) and _infinite(leaf)]
    if infinite:
        raise PrototypeError(
            f"{listing(infinite)}: infinite values cannot be off by a fraction of themselves (that is NaN); leave them "
            f"out by rules such as ('{infinite[0]}', False)"
        )


def warn_of_coarse(spreads: Mapping[str, float | None], leaves: Mapping[str, jax.Array], scale: Any) -> None:
    """Say which leaves are of a type too coarse for their sigma, so that another one is realised.

    Args:
        spreads: `Deviation.relative_spread` by path.
        leaves: values by path.
        scale: the factor on it; 1 is taken for one that is traced.
    """
    coarse, factor = [], 1.0 if is_traced(scale) else float(scale)
    for path, spread in spreads.items():
        finest, sigma = FINEST * float(jnp.finfo(leaves[path].dtype).eps), (spread or 0) * factor
        if 0 < sigma < finest:
            coarse.append(f"{path} ({leaves[path].dtype}, sigma {sigma:g}, of which {finest:.2g} is the least)")
    if coarse:
        warn_user(
            f"numbers lie too far apart to be off by sigma: {listing(coarse)}. Rounded to them, deviations have "
            f"another standard deviation than was asked for: keep these parameters in float32"
        )


def _infinite(leaf: Any) -> bool:
    return bool(np.isinf(np.asarray(leaf, np.float32 if jnp.result_type(leaf).itemsize < 4 else None)).any())
