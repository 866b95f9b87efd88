"""Laws: how a parameter of a device depends on the device's own value."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from .._checked import number, refusal
from .._errors import LimpetError

SMALLEST = 1e-7
"""Logarithms and negative powers are taken at this value where a device holds less."""


class Law(ABC):
    """A function of a device's value, given as a fraction of the largest one: spread, drift exponent, read noise.

    A law is a frozen dataclass of numbers, so that deviations that hold one compare by value.
    """

    @abstractmethod
    def __call__(self, value: jax.Array) -> jax.Array:
        """The parameter at each value, of its shape and dtype.

        Args:
            value: fractions of the largest value, 0 to 1.
        """


@dataclass(frozen=True)
class Polynomial(Law):
    """`c0 + c1 (a - centre) + c2 (a - centre)^2 + ...`

    Attributes:
        coefficients: c0, c1, ...; one alone is a constant.
        centre: the value that powers are taken of the distance to. With one amid the range, polynomials of a high
            degree are no small differences of large numbers.

    Examples:
        >>> float(Polynomial((1.0, 2.0))(jnp.float32(0.5)))
        2.0
    """

    coefficients: tuple[float, ...]
    centre: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", _number(f"{type(self).__name__}.centre", self.centre))
        given = self.coefficients if isinstance(self.coefficients, tuple | list) else ()
        coefficients = tuple(_number(f"{type(self).__name__}.coefficients", number) for number in given)
        if not coefficients:
            raise refusal("Polynomial.coefficients", self.coefficients, "give one number or more, in a list")
        object.__setattr__(self, "coefficients", coefficients)

    def __call__(self, value: jax.Array) -> jax.Array:
        *lower, highest = self.coefficients
        value = value - self.centre if self.centre else value
        result = jnp.full_like(value, highest)
        for coefficient in reversed(lower):
            result = result * value + coefficient
        return result


@dataclass(frozen=True)
class Logarithm(Law):
    """`slope * ln(a) + offset`, not below `low` and not above `high`.

    Attributes:
        slope: factor on the natural logarithm.
        offset: the parameter at the largest value.
        low: its smallest value.
        high: its largest.
    """

    slope: float
    offset: float
    low: float
    high: float

    def __post_init__(self) -> None:
        _checked_numbers(self)

    def __call__(self, value: jax.Array) -> jax.Array:
        return jnp.clip(self.slope * jnp.log(jnp.maximum(value, SMALLEST)) + self.offset, self.low, self.high)


@dataclass(frozen=True)
class Power(Law):
    """`factor * a ** exponent`, not above `high`.

    Attributes:
        factor: the parameter at the largest value.
        exponent: the exponent of the power.
        high: the parameter's largest value.
    """

    factor: float
    exponent: float
    high: float

    def __post_init__(self) -> None:
        _checked_numbers(self)

    def __call__(self, value: jax.Array) -> jax.Array:
        # A CPU takes several times as long for a power as for a logarithm and an exponential.
        return jnp.minimum(self.factor * jnp.exp(self.exponent * jnp.log(jnp.maximum(value, SMALLEST))), self.high)


@dataclass(frozen=True)
class Saturation(Law):
    """`height * (1 - exp(-a / width))`.

    Attributes:
        height: what the parameter tends to.
        width: the value at which it has gone 63% of the way.
    """

    height: float
    width: float

    def __post_init__(self) -> None:
        _checked_numbers(self)

    def __call__(self, value: jax.Array) -> jax.Array:
        return -self.height * jnp.expm1(-value / self.width)


@dataclass(frozen=True)
class Split(Law):
    """One law below a value, another from it on.

    Attributes:
        at: the value.
        below: a law, a number, or the coefficients of a polynomial.
        above: the law from that value on, given in the same ways.
    """

    at: float
    below: Any
    above: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", _number("Split.at", self.at))
        object.__setattr__(self, "below", law_of(self.below, "Split.below"))
        object.__setattr__(self, "above", law_of(self.above, "Split.above"))

    def __call__(self, value: jax.Array) -> jax.Array:
        return jnp.where(value < self.at, self.below(value), self.above(value))


LAWS: dict[str, type[Law]] = {
    "polynomial": Polynomial,
    "logarithm": Logarithm,
    "power": Power,
    "saturation": Saturation,
    "split": Split,
}
"""Every law by the name that a configuration gives it."""


def law_of(given: Any, name: str) -> Law:
    """The law that is meant: one itself, a number (a constant), coefficients of a polynomial, or a mapping with a kind.

    Args:
        given: what the user gave.
        name: what errors call it.

    Raises:
        LimpetError: it is none of these.

    Examples:
        >>> law_of(0.2, "spread"), law_of({"kind": "saturation", "height": 1.0, "width": 0.5}, "spread")
        (Polynomial(coefficients=(0.2,), centre=0.0), Saturation(height=1.0, width=0.5))
    """
    if isinstance(given, Law):
        return given
    if isinstance(given, int | float) and not isinstance(given, bool):
        return Polynomial((given,))
    if isinstance(given, list | tuple):
        return Polynomial(tuple(given))
    if isinstance(given, Mapping) and given.get("kind") in LAWS:
        law = LAWS[given["kind"]]
        parameters = {key: value for key, value in given.items() if key != "kind"}
        allowed = [field.name for field in fields(law)]  # pyright: ignore[reportArgumentType]
        needed = [field.name for field in fields(law) if field.default is MISSING]  # pyright: ignore[reportArgumentType]
        if set(parameters) - set(allowed) or set(needed) - set(parameters):
            raise refusal(name, dict(given), f"a law of kind {given['kind']} has {', '.join(allowed)}")
        return law(**parameters)
    reason = (
        f"allowed are a number, the coefficients of a polynomial in a list, and a mapping with its kind, one of "
        f"{', '.join(LAWS)}"
    )
    raise refusal(name, given, reason)


@cache
def at_largest(law: Law) -> float:
    """A law's parameter at the largest value, also while a function is traced."""
    with jax.ensure_compile_time_eval():
        return float(law(jnp.ones(())))


def described_law(law: Law) -> Any:
    """A law as plain values, as a configuration writes it."""
    if isinstance(law, Polynomial) and not law.centre:
        return law.coefficients[0] if len(law.coefficients) == 1 else list(law.coefficients)
    kind = next(name for name, member in LAWS.items() if type(law) is member)
    values = {field.name: getattr(law, field.name) for field in fields(law)}  # pyright: ignore[reportArgumentType]
    return {"kind": kind} | {
        name: described_law(value) if isinstance(value, Law) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def _checked_numbers(law: Any) -> None:
    for field in fields(law):
        number = _number(f"{type(law).__name__}.{field.name}", getattr(law, field.name))
        object.__setattr__(law, field.name, number)


def _number(name: str, value: Any) -> float:
    return number(name, value, error=LimpetError)
