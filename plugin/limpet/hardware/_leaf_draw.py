"""One leaf's draw, as a unit of compilation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import LimpetError
from .._jax import is_tracing
from ..analog._found import InputRange
from ..analog._product import Product
from ..arrays._array import UNSAID, Array
from ..deviations._crossbar import Crossbar
from ..deviations._deviation import Deviation
from ..deviations._draw import Draw
from ..deviations._kinds import label
from ..draws._apart import apart, unknown_truth
from ..draws._keys import leaf_key, path_hash
from ..draws._normal import is_fast
from ..draws._shard import Shard
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
    array: Array = UNSAID
    product: Product | None = None
    ranges: InputRange | None = None

    @property
    def drawn(self) -> "LeafRule":
        """What a draw of the devices needs of the rule, apart from what the arrays compute of them."""
        return replace(self, product=None, ranges=None)

    @property
    def arranged(self) -> bool:
        """Whether it matters on which arrays the values sit."""
        return self.deviation.arranged or (self.product is not None and not self.product.ideal)

    @property
    def random(self) -> bool:
        """Whether chips differ, or what one chip computes at one time and at another."""
        return self.deviation.random or self.random_products

    @property
    def noisy_reads(self) -> bool:
        """Whether each read of a chip gives other values, or other products."""
        return self.deviation.noisy_reads or (self.product is not None and self.product.fresh)

    @property
    def random_products(self) -> bool:
        """Whether products differ from chip to chip, or from one to the next, by more than the weights."""
        return self.product is not None and (self.product.fresh or self.product.own)

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
    chip_key: jax.Array,
    value: jax.Array,
    condition: Condition,
    rule: LeafRule,
    division: Division | None = None,
    factors: jax.Array | None = None,
) -> jax.Array:
    """One leaf's draw.

    It is a jitted function, so that leaves of one shape and rule are traced once.

    Args:
        key: the leaf's own random key, shape ().
        chip_key: the key of the whole draw (a step or a chip), shape ().
        value: the nominal values.
        condition: the condition of the chip, a checked one.
        rule: the rule by which the leaf deviates.
        division: the division of the leaf among devices, where `value` is one device's part; else None.
        factors: the factors of the values, where they are drawn already; else None.

    Raises:
        LimpetError: the deviation gives another shape, or no real numbers.
    """
    part = None
    if division is not None:
        part = division.shard(value.shape)
        if not (rule.deviation.elementwise and is_fast(key) and part.size <= 2**32):
            undivided = partial(deviate, key, chip_key, condition=condition, rule=rule)
            return part.of(undivided(value=division.gathered(value)))
    wide, strength, draw = _drawing(key, chip_key, value, condition, rule, part)
    limits = rule.limits
    if factors is not None:
        deviated = wide * factors
    elif limits is not None and limits.policy == "truncate":
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
    return _straight_through(value, deviated) if rule.gradient == "straight_through" else deviated


def _drawing(
    key: jax.Array, chip_key: jax.Array, value: jax.Array, condition: Condition, rule: LeafRule, part: Shard | None
) -> tuple[jax.Array, jax.Array, Draw]:
    """The values that a deviation is given, its strength, and its random numbers."""
    wide = value.astype(jnp.float64 if value.dtype == jnp.float64 else jnp.float32)
    draw = Draw(
        key,
        chip_key,
        condition.sign,
        part,
        condition.time,  # pyright: ignore[reportArgumentType]
        condition.read,
        constant_statistics=rule.gradient == "through_value",
        array=rule.array,
    )
    return wide, jnp.asarray(condition.scale).astype(wide.dtype), draw


def require_cells(product: Product | None, deviation: Deviation, limits: Limits | None) -> None:
    """Refuse columns of devices of their own where there are none, or where something acts on weights as a whole.

    Raises:
        LimpetError: names the product.
    """
    if product is None or product.cells == "together":
        return
    if not isinstance(deviation, Crossbar):
        reason = f"the devices of a weight are what a limpet.Crossbar draws, and the deviation is {label(deviation)}"
    elif deviation.drift_compensation:
        reason = "drift compensation is of weights as a whole; leave it to the digital gains of limpet.calibrate"
    elif deviation.mapping == "single" and product.relative_to != deviation.relative_to:
        reason = f"relative_to = {product.relative_to!r} has to be the crossbar's, {deviation.relative_to!r}"
    elif limits is not None:
        reason = "limits are of weights as a whole; leave them out"
    else:
        return
    raise LimpetError(f"Product.cells = 'apart': {reason}")


def cells_of(
    key: jax.Array, chip_key: jax.Array, value: jax.Array, condition: Condition, rule: LeafRule
) -> list[jax.Array]:
    """What each column of the devices of a `Crossbar` holds of one leaf; see `Crossbar.cells` and `deviate`."""
    assert isinstance(rule.deviation, Crossbar)
    wide, strength, draw = _drawing(key, chip_key, value, condition, rule, None)
    cells = [cell.astype(value.dtype) for cell in rule.deviation.cells(draw, wide, strength)]
    return [_straight_through(value, cell) for cell in cells] if rule.gradient == "straight_through" else cells


@jax.custom_jvp
def _straight_through(nominal: jax.Array, deviated: jax.Array) -> jax.Array:
    """The deviated values, with the gradient of the nominal ones."""
    return deviated


@_straight_through.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    return primals[1], tangents[0]


@partial(jax.jit, static_argnames=("deviation", "shape", "dtype"))
def _factors(
    key: jax.Array, chip_key: jax.Array, condition: Condition, deviation: Deviation, shape: tuple[int, ...], dtype: Any
) -> jax.Array:
    """The factors by which a relative deviation multiplies the values of one leaf, of float32 or float64."""
    draw = Draw(key, chip_key, condition.sign, None, condition.time, condition.read)  # pyright: ignore[reportArgumentType]
    strength = jnp.asarray(condition.scale).astype(dtype)
    return deviation.deviate(draw, jnp.ones(shape, dtype), strength)


MANY, FEW_VALUES = 8, 2**14
"""From so many leaves of one shape on, of so few values each, factors are drawn in a loop over the leaves."""

MOST_BATCHED = 2**22
"""The values of one batch at most, because a batch is a copy of its leaves: 16 MiB in float32."""


def deviate_alike(
    keys: jax.Array,
    chip_key: jax.Array,
    values: Sequence[jax.Array],
    condition: Condition,
    rule: LeafRule,
    division: Division | None = None,
) -> list[jax.Array]:
    """The draws of several leaves of one shape, dtype and rule, compiled together where that takes less time.

    What takes long to compile is drawn in one batch of all of them. Many small leaves have their factors drawn in a
    loop, of which one turn is compiled: memory for the factors is little, because the leaves are small. All others are
    drawn one by one, because a batch would have to be put together and taken apart again.

    Args:
        keys: the leaves' own random keys, shape (leaves,).
        chip_key: the key of the whole draw, shape ().
        values: the nominal values of each leaf.
        condition: the condition of the chip, a checked one.
        rule: the rule by which all of them deviate.
        division: the division of one leaf among devices, where its value is one device's part; else None.
    """
    deviation, first = rule.deviation, values[0]
    if not is_tracing() or division is not None or len(values) == 1:
        return [deviate(keys[place], chip_key, value, condition, rule, division) for place, value in enumerate(values)]
    most = max(MOST_BATCHED // max(first.size, 1), 1)
    if deviation.batched and len(values) > most:
        parts = [slice(start, start + most) for start in range(0, len(values), most)]
        drawn = [deviate_alike(keys[part], chip_key, values[part], condition, rule) for part in parts]
        return [leaf for part in drawn for leaf in part]
    if deviation.batched:
        batch = jax.vmap(partial(deviate, rule=rule), (0, None, 0, None))
        drawn = batch(keys, chip_key, apart(jnp.stack(values)), condition)
        return [row[0] for row in jax.lax.split(apart(drawn), (1,) * len(values))]
    # Draws of leaves of one shape differ by an operand, not by a constant, so that XLA compiles their loops once.
    places = _unknown_places(len(values))
    take = partial(jax.lax.dynamic_index_in_dim, axis=0, keepdims=False, allow_negative_indices=False)
    truncated = rule.limits is not None and rule.limits.policy == "truncate"
    has_factors = deviation.relative and deviation.elementwise and not truncated
    if not (has_factors and len(values) >= MANY and first.size <= FEW_VALUES):
        return [
            deviate(take(keys, place), chip_key, value, condition, rule)
            for place, value in zip(places, values, strict=True)
        ]
    dtype = jnp.float64 if first.dtype == jnp.float64 else jnp.float32

    def of_leaf(key: jax.Array) -> jax.Array:
        return _factors(key, chip_key, condition, deviation, first.shape, dtype)

    # An accelerator would wait for the host at each turn of a loop.
    factors = jax.lax.platform_dependent(keys, cpu=partial(jax.lax.map, of_leaf), default=jax.vmap(of_leaf))
    return [
        # The key is that of no draw here: the factors are drawn already.
        deviate(chip_key, chip_key, value, condition, rule, factors=take(factors, place))
        for place, value in zip(places, values, strict=True)
    ]


@jax.jit
def leaf_keys(key: jax.Array, hashes: jax.Array) -> jax.Array:
    """The random key of each leaf, from the key of the whole draw and the hashes of the leaves' paths, as one array."""
    return jax.vmap(leaf_key, (None, 0))(key, hashes)


def path_hashes(paths: Iterable[str]) -> np.ndarray:
    """The hash of each path, uint32."""
    return np.array([path_hash(path) for path in paths], np.uint32)


def _unknown_places(count: int) -> list[jax.Array]:
    """The numbers 0, 1, ... as values of which a CPU's compiler knows nothing."""
    places = list(np.arange(count, dtype=np.int32))

    def hidden() -> list[jax.Array]:
        return jax.lax.cond(unknown_truth(), lambda: list(map(jnp.asarray, places)), lambda: [jnp.int32(count)] * count)

    # An accelerator would wait for the host at a condition, and its kernels are not shared in any case.
    return jax.lax.platform_dependent(cpu=hidden, default=lambda: list(map(jnp.asarray, places)))
