"""Weights held as conductances."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from .._checked import flag, one_of, refusal
from ..draws._strength import checked_strength
from ._chain import Chain
from ._deviation import Deviation, checked_deviation
from ._draw import Draw
from ._off import Off
from ._slopes import with_slopes
from ._to_largest import ToLargest, fraction_of

WeightMapping = Literal["pair", "single"]
"""A weight as the difference of two conductances, of which one is the smallest; or as one between the two extremes."""


@dataclass(frozen=True)
class Crossbar(ToLargest):
    """Weights held by devices whose conductances deviate: each weight by two of them, or by one.

    With `mapping="pair"`, a weight is the difference of two conductances, `m * (g_plus - g_minus)`: the one of its sign
    holds |weight| / m, the other one the smallest conductance, and **both** deviate. With "single", one conductance
    holds (weight / m + 1) / 2. Conductances are fractions of the largest one; `device` acts on them: a `Programming`,
    or what a device goes through in order, such as `Chain((Programming(...), Drift(...), ReadNoise(...)))`. Weights lie
    evenly between the smallest and the largest conductance, and so do the levels of a `Quantize` among the devices.

    m is the largest absolute value of the leaf (see `ToLargest`): the gradient passes through it, which is what keeps a
    few weights from growing, and the noise of all others with them.

    Attributes:
        device: what befalls a conductance between 0 and 1. Its own `relative_to`, where it has one, is 1 here.
        mapping: "pair" or "single", two conductances for each weight or one, as said above.
        smallest: the smallest conductance, as a fraction of the largest (1 / on-off ratio), from 0 to below 1.
        drift_compensation: whether the output is scaled, at each time, by how much the response to inputs of 1 has
            fallen since programming: the sum over output channels of the absolute sum over inputs (Joshi et al., 2020).

    Raises:
        LimpetError: `device` is no deviation, or another argument is none of these.

    Examples:
        >>> import limpet
        >>> crossbar = Crossbar(limpet.Programming(spread=(0.01, 0.08, -0.05)))
        >>> mismatch = limpet.Mismatch({"w": True}, crossbar)
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.linspace(-1, 1, 10_001)})["w"]
        >>> bool((deviated != 0).mean() > 0.4)  # also weights of 0 deviate
        True
    """

    device: Deviation
    mapping: WeightMapping = "pair"
    smallest: float = 0.0
    drift_compensation: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        object.__setattr__(self, "device", _of_conductances(checked_deviation(self.device, f"{name}.device")))
        object.__setattr__(self, "smallest", checked_strength(self.smallest, f"{name}.smallest"))
        if self.smallest >= 1:
            raise refusal(f"{name}.smallest", self.smallest, "allowed is a fraction of the largest, below 1")
        one_of(f"{name}.mapping", self.mapping, get_args(WeightMapping))
        flag(f"{name}.drift_compensation", self.drift_compensation)

    @property
    def elementwise(self) -> bool:
        return super().elementwise and self.device.elementwise and not self.drift_compensation

    @property
    def relative_spread(self) -> float | None:
        spread, weights = self.device.relative_spread, 2 if self.mapping == "single" else 1
        return None if spread is None else weights * spread / (1 - self.smallest)

    @property
    def batched(self) -> bool:
        return True

    @property
    def programs(self) -> bool:
        return True

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        value = self.held(draw, value)
        largest = self.largest(draw, value)
        fraction = fraction_of(value, largest)
        if not (self.drift_compensation and draw.time is not None and value.size):
            return value + largest * self._moved(draw, fraction, strength, draw.time)
        # Both times in one batch: what does not depend on time is computed once, and compiled once.
        times = jnp.stack([jnp.zeros_like(draw.time), draw.time])
        programmed, moved = jax.vmap(lambda time: self._moved(draw, fraction, strength, time))(times)
        before, now = (response(fraction + change, self.channel_axis) for change in (programmed, moved))
        return (value + largest * moved) * (before / jnp.where(now > 0, now, before))

    def _moved(self, draw: Draw, fraction: jax.Array, strength: jax.Array, time: jax.Array | None) -> jax.Array:
        """By how much weights change, as fractions of the largest, at a time since programming."""

        def moved(fraction: jax.Array, names: Any, strength: jax.Array, time: jax.Array | None) -> jax.Array:
            at = replace(draw, time=time, **names)
            if self.mapping == "single":
                return 2 * self._change(at.stream("single"), (fraction + 1) / 2, strength)
            plus = self._change(at.stream("plus"), jnp.maximum(fraction, 0), strength)
            return plus - self._change(at.stream("minus"), jnp.maximum(-fraction, 0), strength)

        sloped = with_slopes(moved) if self.device.elementwise and draw.shard is None else moved
        names = {name: getattr(draw, name) for name in ("key", "chip_key", "sign", "read")}
        return sloped(fraction, names, strength, time)

    def _change(self, draw: Draw, held: jax.Array, strength: jax.Array) -> jax.Array:
        """By how much a conductance changes, as a fraction of what lies between the smallest and the largest."""
        range_ = 1 - self.smallest
        conductance = held * range_ + self.smallest if self.smallest else held
        # A chain that the crossbar is a member of speaks of weights: what it has written, and their largest, are no
        # conductances.
        draw = replace(draw, written=None, largest=None, smallest=self.smallest)
        deviated = self.device.deviate(draw, conductance, strength)
        return (deviated - conductance) / range_


def response(weights: jax.Array, channel_axis: int) -> jax.Array:
    """The response of a crossbar to inputs of 1: the sum over output channels of the absolute sum over inputs.

    Args:
        weights: the weights, of any shape. Those of fewer than two axes are one channel.
        channel_axis: the axis of output channels.

    Returns:
        A scalar of the weights' dtype.
    """
    channel = channel_axis % weights.ndim if weights.ndim > 1 else None
    return jnp.abs(weights.sum(axis=tuple(axis for axis in range(weights.ndim) if axis != channel))).sum()


def _of_conductances(device: Deviation) -> Deviation:
    """The device's deviation, where the largest conductance is 1."""
    if isinstance(device, Chain):
        return Chain(tuple(map(_of_conductances, device.members)))
    if isinstance(device, Off):
        return Off(_of_conductances(device.deviation))
    return replace(device, relative_to=1.0) if isinstance(device, ToLargest) else device
