"""Weights held as conductances."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from .._checked import number, one_of, refusal
from ..arrays._reductions import spread, total
from ..draws._strength import checked_strength
from ._chain import Chain
from ._deviation import Deviation, checked_deviation
from ._draw import Draw
from ._rescaled import Rescaled
from ._slopes import with_slopes
from ._to_largest import ToLargest, fraction_of

WeightMapping = Literal["pair", "single"]
"""A weight as the difference of two conductances, of which one is the smallest; or as one between the two extremes."""
Filling = Literal["equal", "lowest first"]
"""How a weight is shared among pairs of devices."""


@dataclass(frozen=True)
class Crossbar(ToLargest):
    """Weights held by devices whose conductances deviate: each weight by two of them, or by one.

    With `mapping="pair"`, a weight is the difference of two conductances, `m * (g_plus - g_minus)`: the one of its sign
    holds |weight| / m, the other one the smallest conductance, and **both** deviate. With "single", one conductance
    holds (weight / m + 1) / 2. Conductances are fractions of the largest one; `device` acts on them: a `Programming`,
    or what a device goes through in order, such as `Chain((Programming(...), Drift(...), ReadNoise(...)))`. Weights lie
    evenly between the smallest and the largest conductance, and so do the levels of a `Quantize` among the devices.

    m is the largest absolute value of the array (see `ToLargest`): the gradient passes through it, which is what keeps
    a few weights from growing, and the noise of all others with them.

    With several `significances`, a weight is held by as many such pairs (or single devices), whose conductances count
    so many times: `m * sum(s_k * (g_plus_k - g_minus_k)) / sum(s_k)`.

    Attributes:
        device: what befalls a conductance between 0 and 1. Its own `relative_to`, where it has one, is 1 here.
        mapping: "pair" or "single", two conductances for each weight or one, as said above.
        smallest: the smallest conductance, as a fraction of the largest (1 / on-off ratio), from 0 to below 1.
        drift_compensation: whether the outputs of each "array" are scaled, at each time, by how much its response has
            fallen since programming, or those of each "column" by its own; True means each array. The response is the
            sum of the absolute outputs when each row is read alone (an input of 1, all others 0), as aihwkit's
            `GlobalDriftCompensation` and `PerColumnDriftCompensation` read it.
        significances: the factors on the conductances of each pair, numbers above 0.
        filling: "equal": each pair holds the same fraction of the weight, so that their errors average; or
            "lowest first": a pair is used once the range of those before it, which count less, is exhausted, as
            aihwkit's `NPairConductanceConverter` does it.

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
    drift_compensation: Literal["array", "column"] | bool = False
    significances: tuple[float, ...] = (1.0,)
    filling: Filling = "equal"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        object.__setattr__(self, "device", _of_conductances(checked_deviation(self.device, f"{name}.device")))
        object.__setattr__(self, "smallest", checked_strength(self.smallest, f"{name}.smallest"))
        if self.smallest >= 1:
            raise refusal(f"{name}.smallest", self.smallest, "allowed is a fraction of the largest, below 1")
        one_of(f"{name}.mapping", self.mapping, get_args(WeightMapping))
        one_of(f"{name}.drift_compensation", self.drift_compensation, (True, False, "array", "column"))
        given = self.significances if isinstance(self.significances, tuple | list) else ()
        factors = tuple(number(f"{name}.significances", factor, 0, above=True) for factor in given)
        if not factors:
            raise refusal(f"{name}.significances", self.significances, "give one number above 0 or more, in a tuple")
        object.__setattr__(self, "significances", factors)
        one_of(f"{name}.filling", self.filling, get_args(Filling))
        if self.filling == "lowest first" and factors != tuple(sorted(factors)):
            reason = "the lowest is filled first: give them in increasing order"
            raise refusal(f"{name}.significances", self.significances, reason)

    @property
    def elementwise(self) -> bool:
        return super().elementwise and self.device.elementwise and not self.drift_compensation

    @property
    def relative_spread(self) -> float | None:
        spread, weights = self.device.relative_spread, 2 if self.mapping == "single" else 1
        averaged = math.hypot(*self.significances) / sum(self.significances)
        return None if spread is None else weights * spread / (1 - self.smallest) * averaged

    @property
    def arranged(self) -> bool:
        return super().arranged or bool(self.drift_compensation) or self.device.arranged

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
        layout, per = draw.array.layout(value.shape), "column" if self.drift_compensation == "column" else "array"
        before, now = (total(jnp.abs(fraction + change), layout, per) for change in (programmed, moved))
        gain = jnp.where(now > 0, before / jnp.where(now > 0, now, 1), 1)
        return (value + largest * moved) * spread(gain, layout, per)

    def _moved(self, draw: Draw, fraction: jax.Array, strength: jax.Array, time: jax.Array | None) -> jax.Array:
        """By how much weights change, as fractions of the largest, at a time since programming."""

        def moved(fraction: jax.Array, names: Any, strength: jax.Array, time: jax.Array | None) -> jax.Array:
            at = replace(draw, time=time, **names)
            if self.mapping == "single":
                return 2 * self._change(at, "single", (fraction + 1) / 2, strength)
            plus = self._change(at, "plus", jnp.maximum(fraction, 0), strength)
            return plus - self._change(at, "minus", jnp.maximum(-fraction, 0), strength)

        sloped = with_slopes(moved) if self.device.elementwise and draw.shard is None else moved
        names = {name: getattr(draw, name) for name in ("key", "chip_key", "sign", "read")}
        return sloped(fraction, names, strength, time)

    def _change(self, draw: Draw, name: str, held: jax.Array, strength: jax.Array) -> jax.Array:
        """By how much what some devices hold together changes, as a fraction of what they can hold.

        Args:
            draw: all the randomness there is.
            name: the name of the devices: those that add, or those that are subtracted.
            held: what they are to hold together, from 0 to 1.
            strength: the factor on the deviation.
        """
        devices = self._devices(draw, name, held, strength)
        return sum((share * change for share, _, change in devices), jnp.zeros_like(held))

    def _devices(
        self, draw: Draw, name: str, held: jax.Array, strength: jax.Array
    ) -> Iterator[tuple[float, jax.Array, jax.Array]]:
        """The share of each device in a weight, what it is to hold, and by how much that changes; see `_change`."""
        together, below = sum(self.significances), 0.0
        for place, factor in enumerate(self.significances):
            own = held if self.filling == "equal" else jnp.clip((held * together - below) / factor, 0, 1)
            stream = draw.stream(f"{name} {place}" if place else name)
            yield factor / together, own, self._change_of_one(stream, own, strength)
            below += factor

    def cells(self, draw: Draw, value: jax.Array, strength: jax.Array) -> list[jax.Array]:
        """The conductances of each column of devices, as weights, all of which are 0 or above; see `shares`.

        Arguments are those of `deviate`: the sum of cells, each times its share, less `reference` times the largest
        weight, is what that gives.
        """
        value = self.held(draw, value)
        largest = self.largest(draw, value)
        fraction, smallest = fraction_of(value, largest), self.smallest / (1 - self.smallest)
        sides = [("plus", jnp.maximum(fraction, 0)), ("minus", jnp.maximum(-fraction, 0))]
        if self.mapping == "single":
            sides = [("single", (fraction + 1) / 2)]
        return [
            largest * (own + change + smallest)
            for name, held in sides
            for _, own, change in self._devices(draw, name, held, strength)
        ]

    @property
    def shares(self) -> list[float]:
        """How often the cells of each column count in a weight; below 0 for those that are subtracted."""
        together = sum(self.significances)
        sides = (2.0,) if self.mapping == "single" else (1.0, -1.0)
        return [side * factor / together for side in sides for factor in self.significances]

    @property
    def reference(self) -> float:
        """How often the largest weight is subtracted from the sum of cells, where weights have one device each."""
        return 1 + 2 * self.smallest / (1 - self.smallest) if self.mapping == "single" else 0.0

    def _change_of_one(self, draw: Draw, held: jax.Array, strength: jax.Array) -> jax.Array:
        """By how much a conductance changes, as a fraction of what lies between the smallest and the largest."""
        range_ = 1 - self.smallest
        conductance = held * range_ + self.smallest if self.smallest else held
        # A chain that the crossbar is a member of speaks of weights: what it has written, and their largest, are no
        # conductances.
        draw = replace(draw, written=None, largest=None, smallest=self.smallest)
        deviated = self.device.deviate(draw, conductance, strength)
        return (deviated - conductance) / range_


def _of_conductances(device: Deviation) -> Deviation:
    """The device's deviation, where the largest conductance is 1."""
    if isinstance(device, Chain):
        return Chain(tuple(map(_of_conductances, device.members)))
    if isinstance(device, Rescaled):
        return replace(device, deviation=_of_conductances(device.deviation))
    return replace(device, relative_to=1.0) if isinstance(device, ToLargest) else device
