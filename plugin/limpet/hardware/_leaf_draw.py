"""One leaf's draw, as a unit of compilation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._errors import LimpetError
from .._jax import is_traced
from ..deviations._deviation import Deviation
from ..deviations._draw import Draw
from ..deviations._kinds import label
from ..draws._keys import leaf_key, path_hash
from ..draws._normal import is_fast
from ..draws._sealed import sealed
from ..results._condition import Condition
from ._limits import Limits
from ._sharding import Division

Gradient = Literal["through", "through_value", "straight_through"]
"""How gradients reach the nominal values: exactly; exactly but for what is taken of all values of a leaf together, as
their largest; or as if nothing had deviated."""


@dataclass(frozen=True)
class LeafRule:
    """How one selected leaf deviates: what is drawn of it, what it is called, and how that is distributed."""

    deviation: Deviation
    gradient: Gradient
    limits: Limits | None = None

    @property
    def label(self) -> str:
        """The deviation, and the limits that change what a chip holds, in a few words."""
        return ", ".join([label(self.deviation), *([self.limits.label()] if self.limits and self.limits.acts else [])])

    def distribution(self, strength: float) -> Any:
        """How deviated / nominal is distributed; None where no density says it, as where limits cut or clip."""
        return None if self.limits and self.limits.acts else self.deviation.distribution(strength)


@partial(jax.jit, static_argnames=("rule", "division"))
def deviate(
    key: jax.Array,
    hashed_path: ArrayLike,
    value: jax.Array,
    condition: Condition,
    zero: ArrayLike,
    rule: LeafRule,
    division: Division | None = None,
) -> jax.Array:
    """One leaf's draw.

    It is compiled as a unit of its own, so that leaves of one shape are traced once; and the strength is hidden from
    constant folding, so that a chip drawn eagerly, in a step or under `vmap` is the same to the last bit.

    Args:
        key: of the whole draw (a step or a chip), shape ().
        hashed_path: see `path_hashes`.
        value: nominal values.
        condition: a checked one.
        zero: see `unknown_zero`.
        rule: how the leaf deviates.
        division: how the leaf is divided among devices, where `value` is one device's part; else None.

    Raises:
        LimpetError: the deviation gives another shape, or no real numbers.
    """
    part = None
    if division is not None:
        part = division.shard(value.shape)
        if not (rule.deviation.elementwise and is_fast(key) and part.size <= 2**32):
            undivided = partial(deviate, key, hashed_path, condition=condition, zero=zero, rule=rule)
            return part.of(undivided(value=division.gathered(value)))
    wide = value.astype(jnp.float64 if value.dtype == jnp.float64 else jnp.float32)
    strength = sealed(condition.scale.astype(wide.dtype), zero)
    draw = Draw(
        leaf_key(key, hashed_path),
        key,
        None if condition.mirrored is None else jnp.where(condition.mirrored, -1.0, 1.0),
        zero,
        part,
        condition.time,
        condition.read,
        constant_statistics=rule.gradient == "through_value",
    )
    limits = rule.limits
    if limits is not None and limits.policy == "truncate":
        deviated = limits.drawn_within(rule.deviation, draw, wide, strength)
    else:
        deviated = rule.deviation.deviate(draw, wide, strength)
    name = f"{type(rule.deviation).__name__}.deviate"
    if not isinstance(deviated, jax.Array | np.ndarray) or not jnp.issubdtype(deviated.dtype, jnp.floating):
        given = getattr(deviated, "dtype", type(deviated).__name__)
        raise LimpetError(f"{name} gave {given}, not an array of real floating-point numbers")
    if deviated.shape != value.shape:
        raise LimpetError(
            f"{name} gave shape {deviated.shape} for values of shape {value.shape}: a deviation keeps the shape"
        )
    deviated = jnp.asarray(deviated).astype(value.dtype)
    if limits is not None and limits.acts:
        deviated = jnp.clip(deviated, *limits.ends(value.dtype))
    deviated = sealed(deviated, zero)
    return _straight_through(value, deviated) if rule.gradient == "straight_through" else deviated


@jax.custom_jvp
def _straight_through(nominal: jax.Array, deviated: jax.Array) -> jax.Array:
    """The deviated values, with the gradient of the nominal ones."""
    return deviated


@_straight_through.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    return primals[1], tangents[0]


def path_hashes(paths: Sequence[str], zero: ArrayLike) -> Sequence[Any]:
    """The hash of each path, as run-time values that a CPU's compiler cannot constant-fold.

    Draws of leaves of one shape then differ by an argument, not by a constant, and XLA compiles them once; with
    constants, two hundred leaves take several times as long to compile.

    Args:
        paths: of the leaves.
        zero: see `unknown_zero`.
    """
    hashes = [np.uint32(path_hash(path)) for path in paths]
    if not is_traced(zero):
        return hashes

    def known() -> list[jax.Array]:
        return list(map(jnp.asarray, hashes))

    # An accelerator would wait for the host at a condition, and its kernels are not shared in any case.
    return jax.lax.platform_dependent(
        zero,
        cpu=lambda zero: jax.lax.cond(zero == 0, known, lambda: [jnp.uint32(0)] * len(hashes)),
        default=lambda zero: known(),
    )
