"""What the devices of all chips have in common: a gain and an offset."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .._checked import number
from .._errors import LimpetError, StrengthError
from ._draw import Draw
from ._to_largest import ToLargest, sign_of


@dataclass(frozen=True)
class Systematic(ToLargest):
    """A gain and an offset of every device of every chip: `|value|` becomes `max(0, gain * |value| + offset * m)`.

    The sign stays, and m is the largest absolute value of the array. It is what a process is off by, or a bench: all
    currents 30% low, all conductances shifted by a leakage. Nothing is drawn, so that all chips are off alike, at every
    strength, 0 included; what differs from chip to chip is a `Shared`. In a `Chain` it stands before what is random,
    which then acts on the values that devices really have: of `Chain((Systematic(gain=0.7), LogNormal(sigma=0.1)))`
    the median is 0.7 of the nominal value. What devices were to hold is still the nominal value, of which m, drift and
    the level of stuck devices are taken; but a `Programming` or a `Crossbar` behind it is set to what it gives.

    A value of 0 stays 0 without an offset. With one it counts as positive, as in `Programming`: it becomes `offset * m`
    where that is above 0, and else stays 0.

    Attributes:
        gain: the factor on every value, a finite number above 0.
        offset: the shift of every absolute value, as a fraction of m; a finite number, below 0 towards zero.

    Raises:
        StrengthError: `gain` or `offset` is no such number.
        LimpetError: nothing deviates, because the gain is 1 and the offset 0; or `relative_to` is none of these.

    Examples:
        >>> import limpet
        >>> low = Systematic(gain=0.75, offset=-0.25)
        >>> mismatch = limpet.Mismatch({"w": True}, low)
        >>> mismatch(jax.random.key(0), {"w": jnp.array([-2.0, 1.0, 0.5, 0.0])})["w"].tolist()
        [-1.0, 0.25, 0.0, 0.0]
    """

    gain: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        gain = number(f"{name}.gain", self.gain, 0, above=True, error=StrengthError)
        object.__setattr__(self, "gain", gain)
        object.__setattr__(self, "offset", number(f"{name}.offset", self.offset, error=StrengthError))
        if self.gain == 1 and self.offset == 0:
            raise LimpetError(
                f"{name}: nothing deviates at gain = 1 and offset = 0: give a gain other than 1, or an offset other "
                f"than 0; limpet.Exact() says that values stay as they are"
            )

    @property
    def random(self) -> bool:
        return False

    @property
    def level(self) -> str:
        return ""

    @property
    def elementwise(self) -> bool:
        return not self.offset or super().elementwise

    @property
    def arranged(self) -> bool:
        return bool(self.offset) and super().arranged

    @property
    def relative(self) -> bool:
        return not self.offset and isinstance(self.relative_to, str)  # beyond a number, values are held at it

    @property
    def relative_spread(self) -> float:
        return 0.0

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        value = self.held(draw, value)
        if not self.offset:
            return value * self.gain
        shift = self.offset * self.largest(draw, value)
        return jnp.where(jnp.abs(value) * self.gain + shift > 0, value * self.gain + sign_of(value) * shift, 0)
