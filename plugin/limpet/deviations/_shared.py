"""What values of a chip have in common: a die, a core, a column."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from .._checked import one_of, refusal, whole
from .._errors import LimpetError
from ._deviation import AXES, Deviation, checked_level, checked_relative
from ._draw import Draw

Across = Literal["chip"]
"""Which values share one factor: all of the chip's."""

MOST_GROUPS = 2**16
"""Numbers of groups are counted from 0: a factor is drawn for each number up to the largest."""


@dataclass(frozen=True)
class Shared(Deviation):
    """Relative mismatch that a group of values has in common: its factor is drawn once and multiplies all of them.

    What varies from die to die is common to a chip, the error of a bias generator to a core, that of an amplifier to a
    column. Say which values share a factor by one of `across`, `axes` and `groups`. Levels add up in a chain, each with
    random numbers of its own: of `Chain((Shared(LogNormal(sigma_ln=a), across="chip"), LogNormal(sigma_ln=b)))` the
    logarithm has the variance a^2 + b^2, of which a^2 is common to the chip.

    Attributes:
        deviation: the distribution of the factor around 1; a relative one, such as `LogNormal`.
        across: "chip": all values of the chip, in all leaves that say the same `name`.
        axes: those along which the values of a leaf have a factor in common, such as (0,) of a matrix for a factor for
            each column.
        groups: the group of each place along `axis`, whole numbers from 0, such as the core of each neuron. The values
            of a group have one factor, whatever their places along other axes.
        axis: the axis that `groups` counts.
        name: the name of the level. Leaves that say the same one share the draw: group 2 of one leaf has the factor of
            group 2 of the other. Without it each leaf draws its own (of `across`, "chip" is the name). It is also the
            name by which `Hardware.without` switches the level off.

    Raises:
        LimpetError: `deviation` is none, or is not relative to a value; or another argument is none of these.

    Examples:
        >>> import limpet
        >>> columns = Shared(limpet.LogNormal(sigma=0.1), axes=(0,))
        >>> deviated = limpet.Mismatch({"w": True}, columns)(jax.random.key(0), {"w": jnp.ones((3, 2))})["w"]
        >>> bool((deviated == deviated[0]).all()), bool(deviated[0, 0] == deviated[0, 1])
        (True, False)
    """

    deviation: Deviation
    across: Across | None = None
    axes: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    axis: int = -1
    name: str = ""

    def __post_init__(self) -> None:
        name = type(self).__name__
        checked_relative(self.deviation, f"{name}.deviation")
        if self.across is not None:
            one_of(f"{name}.across", self.across, get_args(Across))
        for key in ("axes", "groups"):
            object.__setattr__(self, key, _whole_numbers(getattr(self, key), f"{name}.{key}"))
        for group in self.groups:
            whole(f"{name}.groups", group, 0, MOST_GROUPS - 1)
        whole(f"{name}.axis", self.axis, *AXES)
        given = [key for key in ("across", "axes", "groups") if getattr(self, key)]
        if len(given) != 1:
            raise LimpetError(
                f"{name}: say which values share a factor by one of across, axes and groups, got "
                f"{' and '.join(given) or 'none'}"
            )
        if self.axis != -1 and not self.groups:
            raise refusal(f"{name}.axis", self.axis, "it goes with groups, which are missing")
        checked_level(self.name, f"{name}.name")

    @property
    def relative(self) -> bool:
        return True

    @property
    def elementwise(self) -> bool:
        return self.across is not None and self.deviation.elementwise

    @property
    def level(self) -> str:
        return self.name or self.across or "shared"

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        common = draw.shared(self.level) if self.name or self.across else draw
        if self.across:
            return value * self._factors(common, (), value, strength)
        if self.axes:
            axes = {self._checked_axis(axis, value, "axes") for axis in self.axes}
            kept = [axis for axis in range(value.ndim) if axis not in axes]
            # Drawn without the axes of length 1, so that leaves of other shapes share the same factors.
            factors = self._factors(common, tuple(value.shape[axis] for axis in kept), value, strength)
            return value * jnp.expand_dims(factors, tuple(axes))
        axis = self._checked_axis(self.axis, value, "axis")
        if len(self.groups) != value.shape[axis]:
            raise LimpetError(
                f"{type(self).__name__}.groups: {len(self.groups)} of them for a leaf of shape {value.shape}, whose "
                f"axis {axis} has {value.shape[axis]} places: give the group of each"
            )
        factors = self._factors(common, (max(self.groups) + 1,), value, strength)[np.array(self.groups)]
        return value * jnp.expand_dims(factors, tuple(other for other in range(value.ndim) if other != axis))

    def _factors(self, draw: Draw, shape: tuple[int, ...], value: jax.Array, strength: jax.Array) -> jax.Array:
        return self.deviation.deviate(draw, jnp.ones(shape, value.dtype), strength)

    def _checked_axis(self, axis: int, value: jax.Array, key: str) -> int:
        if not -value.ndim <= axis < value.ndim:
            raise LimpetError(
                f"{type(self).__name__}.{key} = {getattr(self, key)}: a leaf of shape {value.shape} has no axis {axis}"
            )
        return axis % value.ndim


def _whole_numbers(given: Any, name: str) -> tuple[int, ...]:
    numbers = np.asarray(given) if isinstance(given, tuple | list | np.ndarray) else np.zeros((1, 1))
    real = numbers.dtype.kind in "iuf" or not numbers.size
    # A core map that Rockpool makes has its whole numbers as floating-point ones.
    if numbers.ndim != 1 or not real or not np.array_equal(numbers, np.round(numbers)):
        raise refusal(name, given, "allowed are whole numbers, in a tuple")
    return tuple(int(number) for number in numbers)
