"""Deviations: the distributions by which one array deviates from its nominal value.

A new distribution is one subclass of `Deviation` here, and its name in the table at the end of this file, which the
configuration reads.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import jax
from jax.core import Tracer

from .._errors import StrengthError
from ..draws._normal import times_normal


@dataclass(frozen=True, repr=False)
class Deviation(ABC):
    """How one array deviates, at relative standard deviation `sigma`.

    Attributes:
        sigma: relative standard deviation of a value, a finite float >= 0 (0.1: "off by some 10%"). It is static;
            what moves during training is the `scale` that a recipe is called with.

    Raises:
        StrengthError: sigma is NaN, infinite, negative or no number.
    """

    sigma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", checked_strength(self.sigma, f"{type(self).__name__}.sigma"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sigma={self.sigma:.6g})"

    @classmethod
    def from_percent(cls, percent_deviation: float = 0.30, sigma_rule: float = 3.0) -> Self:
        """The deviation in Rockpool's terms: `sigma = percent_deviation / sigma_rule`.

        Args:
            percent_deviation: the largest deviation met, as a fraction (0.30 is 30%).
            sigma_rule: how many standard deviations that is (3: 99.7% of the values deviate less).

        Raises:
            StrengthError: either is not a finite number, percent_deviation < 0, or sigma_rule <= 0.

        Example:
            >>> Gaussian.from_percent(0.30, 3.0)
            Gaussian(sigma=0.1)
        """
        percent_deviation = checked_strength(percent_deviation, "percent_deviation")
        sigma_rule = checked_strength(sigma_rule, "sigma_rule")
        if sigma_rule == 0:
            raise StrengthError("sigma_rule = 0.0: allowed is a finite number > 0 (Rockpool's default is 3)")
        return cls(percent_deviation / sigma_rule)

    @abstractmethod
    def deviate(self, key: jax.Array, value: jax.Array, sigma: jax.Array) -> jax.Array:
        """One draw of a deviated array.

        Args:
            key: the leaf's own key, shape ().
            value: nominal values of any shape, float32 or float64.
            sigma: the strength in force, a scalar of value's dtype: this deviation's sigma times the caller's scale.
                At 0 the nominal values must come back exactly; a negative one asks for the mirror image of the draw
                (antithetic chips).

        Returns:
            The deviated values, with value's shape and dtype, from exactly one call of the generator.
        """


class Gaussian(Deviation):
    """Relative Gaussian mismatch: `value * (1 + sigma * n)`, n standard normal and independent for each element.

    The model of Rockpool's `mismatch_generator` and of Büchel et al. (2021), "Supervised training of spiking neural
    networks for robust deployment on mixed-signal neuromorphic processors", Scientific Reports 11:23376. It is
    unbounded: from sigma = 0.33 on, some positive quantities change sign.

    Example:
        >>> import jax.numpy as jnp
        >>> key = jax.random.key(0)
        >>> value = jnp.full(100_000, 2.0)
        >>> deviated = Gaussian(sigma=0.1).deviate(key, value, jnp.float32(0.1))
        >>> print(f"{deviated.mean():.2f} {deviated.std():.2f}")
        2.00 0.20
    """

    def deviate(self, key: jax.Array, value: jax.Array, sigma: jax.Array) -> jax.Array:
        return value + times_normal(key, value, sigma)


def checked_strength(value: Any, name: str) -> float:
    """A strength as a float, or a `StrengthError` that names it.

    Example:
        >>> checked_strength(float("nan"), "dynamic.sigma")
        Traceback (most recent call last):
        limpet.StrengthError: dynamic.sigma = nan: allowed is a finite number >= 0
    """
    if isinstance(value, Tracer):
        raise StrengthError(
            f"{name} is traced: strengths are static; pass what moves as `scale` when the recipe is called"
        )
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool | str) or not math.isfinite(number) or number < 0:
        raise StrengthError(f"{name} = {value!r}: allowed is a finite number >= 0")
    return number


DEVIATIONS: dict[str, type[Deviation]] = {"gaussian": Gaussian}
"""The distributions by the name that a configuration gives them."""
