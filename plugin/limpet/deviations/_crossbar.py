"""Weights held as conductances."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from .._errors import LimpetError
from ..draws._strength import checked_strength
from ._chain import Chain
from ._deviation import Deviation, checked_deviation
from ._draw import Draw
from ._to_largest import ToLargest

Mapping = Literal["pair", "single"]
"""A weight as the difference of two conductances, of which one is the smallest; or as one between the two extremes."""


@dataclass(frozen=True)
class Crossbar(ToLargest):
    """Weights held by devices whose conductances deviate: each weight by two of them, or by one.

    With `mapping="pair"`, a weight is the difference of two conductances, `m * (g_plus - g_minus)`: the one of its sign
    holds |weight| / m, the other one the smallest conductance, and **both** deviate. With "single", one conductance
    holds (weight / m + 1) / 2. Conductances are fractions of the largest one; `device` acts on them: a `Programming`,
    or what a device goes through in order, such as `Chain((Programming(...), Drift(...), ReadNoise(...)))`.

    m is the largest absolute value of the leaf (see `ToLargest`): the gradient passes through it, which is what keeps a
    few weights from growing, and the noise of all others with them.

    Attributes:
        device: what befalls a conductance between 0 and 1. Its own `relative_to`, where it has one, is 1 here.
        mapping: see above.
        smallest: the smallest conductance, as a fraction of the largest (1 / on-off ratio), from 0 to below 1.
        drift_compensation: whether the output is scaled, at each time, by how much the response to inputs of 1 has
            fallen since programming: the sum over output channels of the absolute sum over inputs (Joshi et al., 2020).

    Raises:
        LimpetError: `device` is no deviation, or another argument is none of these.

    Example:
        >>> import limpet
        >>> crossbar = Crossbar(limpet.Programming(spread=(0.01, 0.08, -0.05)))
        >>> mismatch = limpet.Mismatch({"w": True}, crossbar)
        >>> deviated = mismatch(jax.random.key(0), {"w": jnp.linspace(-1, 1, 10_001)})["w"]
        >>> bool((deviated != 0).mean() > 0.4)  # also weights of 0 deviate
        True
    """

    device: Deviation
    mapping: Mapping = "pair"
    smallest: float = 0.0
    drift_compensation: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        object.__setattr__(self, "device", _of_conductances(checked_deviation(self.device, f"{name}.device")))
        object.__setattr__(self, "smallest", checked_strength(self.smallest, f"{name}.smallest"))
        if self.smallest >= 1:
            raise LimpetError(f"{name}.smallest = {self.smallest}: allowed is a fraction of the largest, below 1")
        if self.mapping not in get_args(Mapping):
            raise LimpetError(f"{name}.mapping = {self.mapping!r}: allowed are 'pair' and 'single'")
        if not isinstance(self.drift_compensation, bool):
            raise LimpetError(f"{name}.drift_compensation = {self.drift_compensation!r}: allowed are True and False")

    @property
    def elementwise(self) -> bool:
        return super().elementwise and self.device.elementwise and not self.drift_compensation

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        deviated = self._read(draw, value, strength)
        if not self.drift_compensation or not value.size:
            return deviated
        programmed = self._read(replace(draw, time=jnp.zeros((), value.dtype)), value, strength)
        before, now = self._response(programmed), self._response(deviated)
        return deviated * (before / jnp.where(now > 0, now, before))

    def _read(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        largest = self.largest(draw, value)
        fraction = value / jnp.where(largest > 0, largest, 1)
        if self.mapping == "single":
            return value + largest * 2 * self._moved(draw.stream("single"), (fraction + 1) / 2, strength)
        plus = self._moved(draw.stream("plus"), jnp.maximum(fraction, 0), strength)
        minus = self._moved(draw.stream("minus"), jnp.maximum(-fraction, 0), strength)
        return value + largest * draw.seal(plus - minus)

    def _moved(self, draw: Draw, fraction: jax.Array, strength: jax.Array) -> jax.Array:
        """By how much the fraction that a device holds changes."""
        range_ = 1 - self.smallest
        conductance = fraction * range_ + self.smallest if self.smallest else fraction
        # A chain that the crossbar is a member of speaks of weights: what it has written is no conductance.
        deviated = self.device.deviate(replace(draw, written=None), conductance, strength)
        return draw.seal(deviated - conductance) / range_

    def _response(self, weights: jax.Array) -> jax.Array:
        if weights.ndim < 2:
            return jnp.abs(weights.sum())
        channel = self.channel_axis % weights.ndim
        axes = tuple(axis for axis in range(weights.ndim) if axis != channel)
        return jnp.abs(weights.sum(axis=axes)).sum()


def _of_conductances(device: Deviation) -> Deviation:
    """The device's deviation, where the largest conductance is 1."""
    if isinstance(device, Chain):
        return Chain(tuple(map(_of_conductances, device.members)))
    return replace(device, relative_to=1.0) if isinstance(device, ToLargest) else device
