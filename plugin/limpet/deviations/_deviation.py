"""The contract that every deviation keeps."""

from abc import ABC, abstractmethod
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from inspect import get_annotations
from typing import Any, Self

import jax

from .._checked import refusal
from .._errors import LimpetError, StrengthError
from ..draws._strength import checked_strength
from ._draw import Draw

UNNAMED_LEVELS = frozenset({"", "device", "shared", "spatial"})
"""The levels of deviations that no user has named: each leaf draws its own numbers."""


class Deviation(ABC):
    """The distribution by which one array deviates from its nominal value.

    A subclass is a frozen dataclass whose fields are all of its parameters, with one method, `deviate`. Equality and
    hashing then follow from the parameters, and so does which compiled function serves which deviation: a subclass that
    keeps a parameter elsewhere would be served a function compiled for another value of it, and is refused.

    A deviation whose strength is a relative standard deviation has a field (or a property) `sigma` that holds it, for
    strength 1. The audit, curves over sigma and the configuration's `sigma:` read it there.

    Examples:
        >>> from dataclasses import dataclass
        >>> import jax.numpy as jnp, limpet
        >>> @dataclass(frozen=True)
        ... class Offset(limpet.Deviation):
        ...     "Adds the same random number to all values of a leaf, of standard deviation `volts`."
        ...
        ...     volts: float
        ...
        ...     def deviate(self, draw, value, strength):
        ...         return value + self.volts * strength * draw.normal(())
        >>> mismatch = limpet.Mismatch({"bias": True}, Offset(volts=0.1))
        >>> chip = mismatch(jax.random.key(0), {"bias": jnp.zeros(3)})
        >>> bool((chip["bias"] == chip["bias"][0]).all())
        True
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _require_no_class_parameters(cls)
        # The decorator of a dataclass leaves an equality alone that the class defines itself. (With slots=True it makes
        # the class anew, and what is seen here then is its own.)
        if "__eq__" in cls.__dict__ and "__dataclass_fields__" not in cls.__dict__:
            raise LimpetError(
                f"{cls.__name__}.__eq__: deviations are equal when all their parameters are, so that no compiled "
                f"function is used for other ones; leave the comparison to @dataclass(frozen=True)"
            )
        if "deviate" in cls.__dict__ and "distribution" not in cls.__dict__:  # its base's would be of other draws
            cls.distribution = Deviation.distribution

    @property
    def elementwise(self) -> bool:
        """Whether what a value becomes depends on no other value of the leaf, nor on the leaf's shape.

        A device that holds a part of a leaf (within `jax.shard_map`) then draws that part alone, under `limpet.fast`.
        For other deviations the whole leaf is gathered first, which is right for all of them.
        """
        return False

    @property
    def relative(self) -> bool:
        """Whether each value is multiplied by a factor that depends on no value, as `sigma` has it.

        Such a factor can be drawn once for several values, see `limpet.Shared`.
        """
        return sigma_of(self) is not None

    @property
    def relative_spread(self) -> float | None:
        """The standard deviation that the largest value of a leaf gets at strength 1, as a fraction of that value; None
        where it is not known. Leaves of a type that is too coarse for it are named in a warning."""
        return sigma_of(self)

    @property
    def arranged(self) -> bool:
        """Whether it matters on which array a value sits, and where on it, as `draw.array` says. It does where it holds
        a deviation for which it matters."""
        return any(part.arranged for part in self._held())

    @property
    def batched(self) -> bool:
        """Whether leaves of one shape are drawn in one batch, because a draw takes long to compile."""
        return False

    @property
    def timed(self) -> bool:
        """Whether it changes with the time since programming, which `draw.time` tells. It does where it holds a
        deviation that does. Only hardware with such a deviation can be measured over times."""
        return any(part.timed for part in self._held())

    @property
    def random(self) -> bool:
        """Whether anything is drawn; where nothing is, all chips are the same. A deviation of others draws what they
        draw."""
        return not self._held() or any(part.random for part in self._held())

    @property
    def noisy_reads(self) -> bool:
        """Whether each read of a chip gives other values, which `draw.of_read` draws. It does where it holds such a
        deviation. A chip with noisy reads is not calibrated to a single one of them."""
        return any(part.noisy_reads for part in self._held())

    def _held(self) -> list["Deviation"]:
        """The deviations among its parameters."""
        held = [getattr(self, field.name) for field in fields(self)]  # pyright: ignore[reportArgumentType]
        members = [part for value in held for part in (value if isinstance(value, tuple) else (value,))]
        return [part for part in members if isinstance(part, Deviation)]

    @property
    def level(self) -> str:
        """The level of variation by which `Hardware.without` switches it off: "device" for what each device has of its
        own."""
        return "device"

    @abstractmethod
    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        """One draw of a deviated array.

        Args:
            draw: all the randomness there is.
            value: nominal values of any shape, float32 or float64. (Narrower leaves are widened to float32 before, and
                rounded back after.)
            strength: the factor on this deviation, a scalar of value's dtype, perhaps traced: 1 is the deviation as its
                parameters say; at 0 there is no random part. Within a `Graded` it is an array of value's shape.

        Returns:
            The deviated values, of value's shape and dtype.
        """

    def distribution(self, strength: float = 1.0) -> Any:
        """How deviated / nominal is distributed: a frozen distribution of `scipy.stats`.

        It is the law by which `limpet.MeasuredChip.explained_by` judges and `limpet.fit_measurements` fits. A class
        that says it says it of its own `deviate`, and that values deviate independently of each other: one derived from
        it with another `deviate` has none.

        Args:
            strength: the factor on the deviation.

        Returns:
            None where the factor depends on the value, has no density, or is always 1.
        """
        return None

    def with_sigma(self, sigma: float) -> Self:
        """The same deviation at another relative standard deviation.

        Raises:
            StrengthError: this deviation has no field `sigma`.
        """
        if "sigma" not in {field.name for field in fields(self)}:  # pyright: ignore[reportArgumentType]
            raise StrengthError(
                f"{self!r} has no relative standard deviation that could be set to {sigma}: move its strength by "
                f"`scale`, and measure it over `scales=`"
            )
        return replace(self, sigma=sigma)  # pyright: ignore[reportArgumentType, reportCallIssue]


def checked_deviation(deviation: Any, name: str = "deviation") -> Deviation:
    """A deviation that keeps the contract.

    Args:
        deviation: what the user gave.
        name: what the error message calls it.

    Raises:
        LimpetError: it is none, no frozen dataclass, or keeps state outside its fields; or it cannot be hashed.
    """
    kind = type(deviation)
    if not isinstance(deviation, Deviation):
        raise refusal(name, deviation, "give a deviation such as limpet.Gaussian(sigma=0.1)")
    if not is_dataclass(deviation) or not kind.__dataclass_params__.frozen or not kind.__dataclass_params__.eq:  # pyright: ignore[reportAttributeAccessIssue]
        raise LimpetError(f"{name}: {kind.__name__} is no frozen dataclass: decorate it with @dataclass(frozen=True)")
    parameters = {field.name for field in fields(deviation)}
    for base in _own_bases(kind):
        added = get_annotations(base).keys() - parameters
        if added and "__dataclass_params__" not in base.__dict__:
            raise LimpetError(
                f"{name}: {base.__name__} adds {', '.join(sorted(added))} to its base, but is not decorated itself: "
                f"decorate it with @dataclass(frozen=True)"
            )
    _require_no_class_parameters(kind)
    derived = {
        name for base in kind.__mro__ for name, value in vars(base).items() if isinstance(value, cached_property)
    }
    elsewhere = vars(deviation).keys() - parameters - derived
    uncompared = {field.name for field in fields(deviation) if not field.compare}
    if elsewhere or uncompared:
        raise LimpetError(
            f"{name}: {kind.__name__} keeps {', '.join(sorted(elsewhere | uncompared))} where equality does not see "
            f"it, so a function compiled for another value would be used: make it a field of the dataclass"
        )
    try:
        hash(deviation)
    except TypeError as error:
        raise LimpetError(
            f"{name}: {kind.__name__} cannot be hashed ({error}): give its parameters as numbers, strings and tuples, "
            f"not as arrays and lists"
        ) from None
    if (sigma := sigma_of(deviation)) is not None:
        checked_strength(sigma, f"{kind.__name__}.sigma")
    return deviation


def checked_relative(deviation: Any, name: str) -> Deviation:
    """A deviation that multiplies each value by a factor that depends on no value.

    Raises:
        LimpetError: it is none, or is not relative.
    """
    if not checked_deviation(deviation, name).relative:
        reason = (
            "what several values have in common is a factor, so that a relative deviation is needed, such as "
            "limpet.LogNormal; this one depends on the values (in a class of your own, a property `relative` that is "
            "True says that it does not)"
        )
        raise refusal(name, deviation, reason)
    return deviation


def checked_level(name: Any, key: str) -> str:
    """The name that a user gives to a level of variation, or none, which is the empty text.

    Raises:
        LimpetError: it is no text, or a name that unnamed levels have.
    """
    if not isinstance(name, str) or (name and name in UNNAMED_LEVELS):
        raise refusal(key, name, "allowed is a text other than 'device', 'shared' and 'spatial'")
    return name


def sigma_of(deviation: Deviation) -> float | None:
    """The relative standard deviation at strength 1, for a deviation where that has a meaning; else None."""
    return getattr(deviation, "sigma", None)


def _own_bases(kind: type) -> list[type]:
    """The classes that a deviation is made of, without `Deviation` itself and what Python brings."""
    return [base for base in kind.__mro__ if base not in Deviation.__mro__ and base.__module__ != "typing"]


def _require_no_class_parameters(kind: type) -> None:
    """Refuse numbers and the like that a class holds outside its fields: changing them would change no equality.

    Methods, properties and other descriptors, nested classes, and what is annotated (a field, an InitVar, or a
    ClassVar, by which the author says that it never changes) are no such parameters.
    """
    for base in _own_bases(kind):
        annotated = get_annotations(base)
        for name, value in base.__dict__.items():
            if name.startswith(("__", "_abc_")) or name in annotated or callable(value) or hasattr(value, "__get__"):
                continue
            raise LimpetError(
                f"{base.__name__}.{name} = {value!r}: a parameter of a deviation is a field of a frozen dataclass; "
                f"write `{name}: {type(value).__name__} = {value!r}`, or annotate it as ClassVar where it never changes"
            )
