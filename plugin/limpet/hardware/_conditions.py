"""Under which conditions a chip is drawn: how strongly, mirrored or not, at which time, at which read."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from .._errors import LimpetError, StrengthError
from ..draws._keys import checked_number
from ..draws._strength import checked_strength


class Conditions(NamedTuple):
    """Under which conditions a chip is drawn.

    Attributes:
        scale: the factor on every deviation, a scalar.
        sign: see `Draw.sign`.
        time: see `Draw.time`.
        read: see `Draw.read`.
    """

    scale: jax.Array
    sign: jax.Array | None = None
    time: jax.Array | None = None
    read: ArrayLike = 0


def checked_conditions(scale: Any, mirrored: Any, time: Any, read: Any) -> Conditions:
    """Conditions as a recipe is called with them; see `Recipe.__call__`.

    Raises:
        StrengthError: `scale` or `time` is negative, NaN, infinite (where its value is known) or no scalar.
        LimpetError: `mirrored` is no bool, or `read` no integer >= 0.
    """
    at = None if time is None else _checked_scalar(time, "time")
    return Conditions(_checked_scalar(scale, "scale"), _sign(mirrored), at, _checked_read(read))


def _checked_scalar(given: Any, name: str) -> jax.Array:
    if np.ndim(given) != 0:
        raise StrengthError(f"{name} has shape {np.shape(given)}: it is a scalar; map over several with jax.vmap")
    if not isinstance(given, Tracer):
        checked_strength(given, name)
    return jnp.asarray(given, jnp.result_type(float))


def _checked_read(read: Any) -> ArrayLike:
    return read if isinstance(read, Tracer) and not read.ndim else np.uint32(checked_number(read, "read"))


def _sign(mirrored: Any) -> jax.Array | None:
    if mirrored is False:
        return None
    if not isinstance(mirrored, bool) and (getattr(mirrored, "dtype", None) != np.bool_ or np.ndim(mirrored)):
        raise LimpetError(f"mirrored = {mirrored!r}: allowed is one bool")
    return jnp.where(mirrored, -1.0, 1.0)
