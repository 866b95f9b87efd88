"""Strengths: finite numbers >= 0, and Rockpool's way of giving them."""

import math
import sys
from typing import Any

from .._checked import number, refusal
from .._errors import StrengthError

MAX_SIGMA = 5.0
"""Above it a relative strength was meant in percent: at 500% nothing of a nominal value is left."""
IN_PERCENT = f"it is a fraction, 0.30 means 30%; allowed is a number from 0 to {MAX_SIGMA:g}"
"""What is said of such a one."""


def checked_strength(value: Any, name: str) -> float:
    """A strength as a float.

    Args:
        value: what the user gave.
        name: what the error message calls it.

    Raises:
        StrengthError: it is no finite number >= 0, or it is traced.

    Examples:
        >>> checked_strength(float("nan"), "Gaussian.sigma")
        Traceback (most recent call last):
        limpet.StrengthError: Gaussian.sigma = nan: allowed is a finite number >= 0
    """
    if "jax" in sys.modules and _is_traced(value):  # JAX is not imported for the sake of this message
        raise StrengthError(
            f"{name} is traced: the parameters of a deviation are static; pass what moves as `scale` when the recipe "
            f"is called"
        )
    return number(name, value, low=0)


def possible_strength(value: Any, name: str, most: float = math.inf) -> Any:
    """A strength as it was given; of one that is traced, so that it can be known by nobody, the nearest possible one.

    A schedule that falls below 0 would otherwise turn deviations into their mirror images without a word. Its gradient
    at the bounds is that of the strength itself.

    Args:
        value: what the user gave.
        name: what the error message calls it.
        most: the largest strength that is allowed.

    Raises:
        StrengthError: it is known, and no finite number from 0 to `most`.
    """
    if "jax" not in sys.modules or not _is_traced(value):
        number(name, value, 0, most)
        return value
    import jax.numpy as jnp

    value = jnp.where(value < 0, 0, value)
    return value if most == math.inf else jnp.where(value > most, most, value)


def _is_traced(value: Any) -> bool:
    from .._jax import is_traced

    return is_traced(value)


def checked_sigma(value: Any, name: str) -> float:
    """A relative standard deviation as a float.

    Raises:
        StrengthError: it is none, or so large that it must be meant in percent.

    Examples:
        >>> checked_sigma(30, "Gaussian.sigma")
        Traceback (most recent call last):
        limpet.StrengthError: Gaussian.sigma = 30: it is a fraction, 0.30 means 30%; allowed is a number from 0 to 5
    """
    sigma = checked_strength(value, name)
    if sigma > MAX_SIGMA:
        raise refusal(name, value, IN_PERCENT, StrengthError)
    return sigma


def sigma_of_percent(percent_deviation: float = 0.30, sigma_rule: float = 3.0) -> float:
    """The relative standard deviation in Rockpool's terms: `percent_deviation / sigma_rule`.

    Args:
        percent_deviation: the largest deviation to be met, as a fraction (0.30 is 30%).
        sigma_rule: how many standard deviations that is (with 3, 99.7% of the values deviate less).

    Raises:
        StrengthError: either is not a finite number, `percent_deviation` is negative, or `sigma_rule` is not positive.

    Examples:
        >>> sigma_of_percent(0.30, 3.0)
        0.1
    """
    percent_deviation = checked_strength(percent_deviation, "percent_deviation")
    sigma_rule = checked_strength(sigma_rule, "sigma_rule")
    if sigma_rule == 0:
        raise StrengthError("sigma_rule = 0.0: allowed is a finite number > 0 (Rockpool's default is 3)")
    return float(f"{percent_deviation / sigma_rule:.15g}")  # 0.3 / 3 is 0.1, not 0.09999999999999999
