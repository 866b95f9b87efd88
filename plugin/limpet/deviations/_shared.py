"""What values of a chip have in common: a die, a core, a column."""

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from .._checked import one_of, refusal, whole
from .._errors import LimpetError
from ..arrays._array import AXES
from ..arrays._reductions import Sites, placed, sites
from ._deviation import Deviation, checked_level, checked_relative
from ._draw import Draw

Across = Literal["chip", "array", "row", "column"]
"""Which values share one factor: all of the chip's, of each array, of each row or of each column of an array."""

_SITES: dict[str, Sites] = {"array": "array", "row": "rows", "column": "columns"}

MOST_GROUPS = 2**16
"""Numbers of groups are counted from 0: a factor is drawn for each number up to the largest."""

MOST_PLACES = 2**24
"""Of an axis whose places are in groups."""


@dataclass(frozen=True)
class Shared(Deviation):
    """Relative mismatch that a group of values has in common: its factor is drawn once and multiplies all of them.

    What varies from die to die is common to a chip, the error of a bias generator to a core, that of an amplifier to a
    column. Say which values share a factor by either `across` or `groups`. Levels add up in a chain, each with
    random numbers of its own: of `Chain((Shared(LogNormal(sigma_ln=a), across="chip"), LogNormal(sigma_ln=b)))` the
    logarithm has the variance a^2 + b^2, of which a^2 is common to the chip.

    Attributes:
        deviation: the distribution of the factor around 1; a relative one, such as `LogNormal`.
        across: the values that share a factor: "chip", all values of the chip, in all leaves that say the same `name`;
            "array", all values of an array; "column", those of each column of an array, as an amplifier behind it has
            it; "row", those of each row. `limpet.Array` says where arrays, rows and columns are.
        groups: the group of each place along `axis`, whole numbers from 0, such as the core of each neuron. A text
            such as "128 of 0" stands for so many places of that group in a row: ("128 of 0", "128 of 1") are 256
            places. The values of a group have one factor, whatever their places along other axes; matrices of a stack
            have their own.
        axis: the axis of the leaf that `groups` counts.
        name: the name of the level. Arrays that say the same one share the draw: group 2 of one leaf has the factor of
            group 2 of the other, column 5 of one array that of column 5 of the other. Without it each array draws its
            own (for "chip", that is the name). It is also the name by which `Hardware.without` switches the level off.

    Raises:
        LimpetError: `deviation` is none, is not relative to a value, or depends on where on an array a value sits; or
            another argument is none of these.

    Examples:
        >>> import limpet
        >>> columns = Shared(limpet.LogNormal(sigma=0.1), across="column")
        >>> deviated = limpet.Mismatch({"w": True}, columns)(jax.random.key(0), {"w": jnp.ones((3, 2))})["w"]
        >>> bool((deviated == deviated[0]).all()), bool(deviated[0, 0] == deviated[0, 1])
        (True, False)
    """

    deviation: Deviation
    across: Across | None = None
    groups: Any = ()
    axis: int = -1
    name: str = ""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if checked_relative(self.deviation, f"{name}.deviation").arranged:
            reason = "a factor that several values have in common sits on no array; take a deviation of devices"
            raise refusal(f"{name}.deviation", self.deviation, reason)
        if self.across is not None:
            one_of(f"{name}.across", self.across, get_args(Across))
        object.__setattr__(self, "groups", _numbers_of_groups(self.groups, f"{name}.groups"))
        for group in set(self.groups):
            whole(f"{name}.groups", group, 0, MOST_GROUPS - 1)
        whole(f"{name}.axis", self.axis, *AXES)
        if bool(self.across) == bool(self.groups):
            raise LimpetError(f"{name}: say which values share a factor by either across or groups")
        if self.axis != -1 and not self.groups:
            raise refusal(f"{name}.axis", self.axis, "it goes with groups, which are missing")
        checked_level(self.name, f"{name}.name")

    @property
    def relative(self) -> bool:
        return True

    @property
    def elementwise(self) -> bool:
        return self.across == "chip" and self.deviation.elementwise

    @property
    def arranged(self) -> bool:
        return self.across != "chip"

    @property
    def level(self) -> str:
        return self.name or ("chip" if self.across == "chip" else "shared")

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        if self.across == "chip":
            return value * self._factors(draw.shared(self.level), (), value, strength)
        common = draw.shared(self.name) if self.name else draw.exactly()
        if not value.size:
            return value
        layout = draw.array.layout(value.shape)
        if self.across is not None:
            sizes = sites(layout, _SITES[self.across], own=not self.name)
            # Drawn without the axes of length 1, so that leaves of other shapes share the same factors.
            factors = self._factors(common, tuple(size for size in sizes if size > 1), value, strength)
            return value * placed(factors.reshape(sizes), layout)
        axis = self._checked_axis(value)
        own = () if self.name else tuple(other for other in layout.stack if other != axis)
        sizes = [size if other in own else 1 for other, size in enumerate(value.shape) if other != axis]
        numbers = max(self.groups) + 1
        factors = self._factors(common, (*(value.shape[other] for other in own), numbers), value, strength)
        of_places = factors[..., np.array(self.groups)].reshape(*sizes, len(self.groups))
        return value * jnp.moveaxis(of_places, -1, axis)

    def _factors(self, draw: Draw, shape: tuple[int, ...], value: jax.Array, strength: jax.Array) -> jax.Array:
        return self.deviation.deviate(draw, jnp.ones(shape, value.dtype), strength)

    def _checked_axis(self, value: jax.Array) -> int:
        """The axis that groups count, from 0 on."""
        axis, shape = self.axis, value.shape
        if not -len(shape) <= axis < len(shape):
            reason = f"a leaf of shape {shape} has no axis {axis}"
            raise refusal(f"{type(self).__name__}.axis", axis, reason)
        if len(self.groups) != shape[axis]:
            raise LimpetError(
                f"{type(self).__name__}.groups: {len(self.groups)} of them for a leaf of shape {shape}, whose axis "
                f"{axis % len(shape)} has {shape[axis]} places: give the group of each"
            )
        return axis % len(shape)


def in_runs(groups: tuple[int, ...]) -> tuple[int | str, ...]:
    """Numbers of groups as a configuration writes them: runs as "128 of 0", where that makes them half as many.

    Examples:
        >>> in_runs((0, 0, 0, 1, 2, 2)), in_runs((0, 1, 1))
        (('3 of 0', 1, '2 of 2'), (0, 1, 1))
    """
    runs = [(len([*places]), group) for group, places in groupby(groups)]
    short = tuple(f"{count} of {group}" if count > 1 else group for count, group in runs)
    return short if 2 * len(short) <= len(groups) else groups


def _numbers_of_groups(given: Any, name: str) -> tuple[int, ...]:
    """The number of the group of each place, with runs written out.

    Raises:
        LimpetError: they are no whole numbers and runs, or more than an axis has places.
    """
    reason = "allowed are whole numbers, and runs such as '128 of 0' (128 places of group 0), in a tuple"
    if isinstance(given, tuple | list):
        places: list[Any] = []
        for part in given:
            run = re.fullmatch(r"(\d{1,9}) of (\d{1,9})", part) if isinstance(part, str) else None
            count, number = (int(run[1]), int(run[2])) if run else (1, part)
            if not 0 < count <= MOST_PLACES - len(places):
                raise refusal(name, given, f"{part!r} would be no place, or more than {MOST_PLACES:,} with all others")
            places += [number] * count
        numbers = np.asarray(places)
    else:
        numbers = given if isinstance(given, np.ndarray) else np.zeros((1, 1))
    real = numbers.dtype.kind in "iuf" or not numbers.size
    # A core map that Rockpool makes has its whole numbers as floating-point ones.
    if numbers.ndim != 1 or not real or not np.array_equal(numbers, np.round(numbers)):
        raise refusal(name, given, reason)
    return tuple(int(number) for number in numbers)
