"""The randomness of one leaf on one chip: all that a deviation may draw from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from .._errors import LimpetError
from ..arrays._array import UNSAID, Array
from ..draws._fast import words
from ..draws._keys import path_hash
from ..draws._normal import scaled_normal, times_normal
from ..draws._shard import Shard
from ..draws._truncated_normal import truncated_normal

SHARED = "limpet: what the leaves of a chip have in common"
"""Stands where a leaf's path would, so that no leaf's own numbers are those that leaves share."""


@dataclass(frozen=True)
class Draw:
    """The random numbers of one leaf on one virtual chip.

    They follow from the chip's key and the leaf's path alone. The same call on the same draw gives the same numbers:
    ask for independent ones by name, with `stream`.

    Attributes:
        key: the leaf's own random key, shape ().
        chip_key: the key of the whole chip, shape ().
        sign: None, or a scalar that is -1.0 for the mirror image of a draw (antithetic chips) and 1.0 otherwise; it
            may be traced. `normal` and `uniform` obey it, so that a deviation need not look at it.
        time: the time since programming in seconds, a scalar that may be traced; None right after programming.
        read: the number of the read, a scalar that may be traced: what is drawn `of_read` is new at each.
        constant_statistics: whether gradients stop at what a deviation takes of all values together, as their largest.
        written: what the devices were to hold, and what they held right after programming, within a chain.
        largest: what the largest value is taken of (`ToLargest.relative_to`) and that value for each, in a chain that
            has rounded the values to fractions of it; rounding leaves it as it is.
        smallest: the smallest conductance of a crossbar, as a fraction of the largest, where the values are its
            conductances; else None.
        array: how the leaf sits on physical arrays.
        exact: whether normal numbers are right out to 6.34 sigma, where the fast ones end at 4.94: those that many
            values have in common, and single ones (shape ()), which are exact always.
        shard: which part of the leaf the values are, where a device draws no more than the part that it holds (see
            `Deviation.elementwise`); else None.

    Examples:
        >>> draw = Draw(jax.random.key(1), jax.random.key(0))
        >>> mirrored = Draw(jax.random.key(1), jax.random.key(0), sign=jnp.float32(-1.0))
        >>> bool((draw.normal((3,)) == -mirrored.normal((3,))).all())
        True
        >>> bool((draw.uniform((3,)) + mirrored.uniform((3,)) == 1).all())
        True
        >>> bool((draw.normal((3,)) == draw.stream("drift").normal((3,))).any())
        False
    """

    key: jax.Array
    chip_key: jax.Array
    sign: jax.Array | None = None
    shard: Shard | None = None
    time: jax.Array | None = None
    read: ArrayLike = 0
    constant_statistics: bool = False
    written: tuple[jax.Array, jax.Array] | None = None
    largest: tuple[object, jax.Array] | None = None
    smallest: float | None = None
    array: Array = UNSAID
    exact: bool = False

    def normal(self, shape: tuple[int, ...], sigma: ArrayLike = 1.0) -> jax.Array:
        """Independent normal numbers of mean 0.

        Args:
            shape: the shape of the result.
            sigma: their standard deviation, of float32 or float64, which gives the result's dtype: a scalar, or one for
                each number. Scaling inside takes less time than a product with the result.
        """
        scalar, each = _scalar(jnp.asarray(sigma))
        exact = self.exact or not shape
        return each(scaled_normal(self.key, shape, self._signed(scalar), self._shard_for(shape), exact))

    def truncated_normal(self, shape: tuple[int, ...], sigma: ArrayLike = 1.0, bound: float = 3.0) -> jax.Array:
        """Independent normal numbers of mean 0 none of which is beyond `bound * sigma`.

        Args:
            shape: the shape of the result.
            sigma: the standard deviation of the result (not of the normal distribution that was cut), of float32 or
                float64, which gives the result's dtype: a scalar, or one for each number.
            bound: the largest number as a multiple of sigma, above sqrt(3) and at most 8.
        """
        scalar, each = _scalar(jnp.asarray(sigma))
        return each(truncated_normal(self.key, shape, self._signed(scalar), bound, self._shard_for(shape)))

    def times_normal(self, value: jax.Array, sigma: jax.Array) -> jax.Array:
        """`value * sigma * normal`, in one pass: the quickest way to a Gaussian deviation.

        Args:
            value: float32 or float64, of any shape.
            sigma: a scalar of value's dtype, or one for each value.
        """
        scalar, each = _scalar(sigma)
        exact = self.exact or not value.ndim
        return times_normal(self.key, each(value), self._signed(scalar), self._shard_for(value.shape), exact)

    def uniform(self, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
        """Independent numbers, uniform between 0 and 1, neither of which is ever drawn.

        They lie on a grid of odd multiples of a power of two, symmetric about one half, so that those of the mirror
        image are exactly `1 - u`.

        Args:
            shape: the shape of the result.
            dtype: float32 or float64.
        """
        word = words(self.key, shape, self._shard_for(shape))
        if jnp.dtype(dtype) == jnp.float64:
            centred = (word.astype(dtype) * 2 + 1) * 2.0**-32 - 1
        else:
            centred = ((word >> 9).astype(dtype) * 2 + 1) * 2.0**-23 - 1
        if self.sign is not None:
            centred = centred * self.sign.astype(dtype)
        return (centred + 1) / 2

    def seconds(self, dtype: DTypeLike) -> jax.Array:
        """The time since programming in seconds, a scalar of a dtype; 0 right after programming."""
        return jnp.asarray(0 if self.time is None else self.time, dtype)

    def of_read(self) -> Self:
        """An independent draw for each read: what differs from cycle to cycle, not from device to device."""
        return replace(self, key=jax.random.fold_in(self.stream("read").key, self.read))

    def statistic(self, values: jax.Array) -> jax.Array:
        """The same values, for something that is taken of all of them together, such as the largest one.

        The gradient passes through it, unless the recipe's gradient is "through_value".
        """
        return jax.lax.stop_gradient(values) if self.constant_statistics else values

    def target(self, value: jax.Array) -> jax.Array:
        """What a device was to hold: within a chain, the value before anything random; else the value itself."""
        return value if self.written is None else self.written[0]

    def programmed(self, value: jax.Array) -> jax.Array:
        """What a device held right after programming: within a chain, the value before time passed; else the value."""
        return value if self.written is None else self.written[1]

    def stream(self, name: str) -> Self:
        """Another draw for the same leaf, independent of this one: for a deviation that needs several numbers a value.

        Args:
            name: any text; the same name gives the same draw.
        """
        return replace(self, key=jax.random.fold_in(self.key, jnp.uint32(path_hash(name))))

    def shared(self, name: str) -> Self:
        """A draw that all leaves of the chip have in common under a name: what a die or a core shares.

        Args:
            name: any text; every leaf that asks under this name gets the same draw.
        """
        common = jax.random.fold_in(self.chip_key, jnp.uint32(path_hash(SHARED)))
        return replace(self, key=jax.random.fold_in(common, jnp.uint32(path_hash(name)))).exactly()

    def exactly(self) -> Self:
        """The same draw with exact normal numbers, for what several values have in common; see `exact`."""
        return replace(self, exact=True)

    def _shard_for(self, shape: tuple[int, ...]) -> Shard | None:
        """Which part numbers of a shape are; None for those that all parts have in common."""
        if self.shard is None or shape == ():
            return None
        if shape != self.shard.shape:
            raise LimpetError(
                f"numbers of shape {shape} are drawn for a part of shape {self.shard.shape} of a leaf: a deviation "
                f"that is elementwise draws one number for each value, or one for all of them (shape ())"
            )
        return self.shard

    def _signed(self, sigma: jax.Array) -> jax.Array:
        """A standard deviation, negative for the mirror image."""
        return sigma if self.sign is None else sigma * self.sign.astype(sigma.dtype)


def _scalar(sigma: jax.Array) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """A standard deviation as a scalar, and the function that multiplies by what differs from value to value."""
    if not sigma.ndim:
        return sigma, lambda values: values
    return jnp.ones((), sigma.dtype), lambda values: values * sigma
