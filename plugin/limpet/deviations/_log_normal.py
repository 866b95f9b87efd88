"""Log-normal mismatch: currents of transistors below threshold."""

import math
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from inspect import signature
from typing import Any, Literal, cast, get_args

import jax
import jax.numpy as jnp

from .._checked import listing, number, one_of, refusal
from .._errors import StrengthError
from ..draws._strength import checked_strength
from ._deviation import Deviation
from ._draw import Draw
from ._pelgrom import pelgrom as pelgrom_law
from ._power_of_two import power_of_two

Preserve = Literal["median", "mean"]
KAPPA, THERMAL_VOLTAGE = 0.705, 25e-3
"""Gate coupling and kT/q in volts, as Rockpool's simulator of DYNAP-SE2 has them."""

LARGEST_SIGMA_LN = 5.0
"""Beyond it float32 would not hold the values; nothing on a chip comes near."""

SMALLEST_SQUARE, LARGEST_AT_ANY_SCALE = 1e-12, 1e18
"""Of sigma: below the first sqrt(ln(1 + sigma^2)) is sigma to the last bit; the second's square float32 still holds."""


@dataclass(frozen=True)
class LogNormal(Deviation):
    """Log-normal mismatch: `value * exp(s * n)`, n standard normal and independent for each element.

    Below threshold a transistor's current is exponential in its gate voltage, `I = I0 exp(kappa V / U_T)`, so a
    threshold that is off by dV ~ N(0, sigma_vth) multiplies the current by `exp(kappa dV / U_T)`. The current never
    changes its sign, and large deviations upwards are more frequent than with `Gaussian`. With s the standard deviation
    of the logarithm, `s = kappa sigma_vth / U_T` and `sigma = sqrt(exp(s^2) - 1)`.

    Give the strength by one of `sigma`, `sigma_ln`, `sigma_vth` and `pelgrom`. Whichever it is, a scale multiplies
    sigma, the relative standard deviation: at scale t, `s = sqrt(ln(1 + (t sigma)^2))`, so that a curve over sigma
    means the same for every deviation.

    Reference: K. Boahen, "Silicon circuit heterogeneity", EE 304 lecture 7, Stanford University.

    Attributes:
        sigma: standard deviation of the deviated value, relative to its mean (its coefficient of variation).
        preserve: "median": as many values lie above the nominal one as below, which is what a threshold that is off by
            as much either way gives, and the mean grows by exp(s^2 / 2); "mean": `value * exp(s * n - s^2 / 2)`, whose
            mean is the nominal value.

    Args:
        sigma_ln: s, the standard deviation of the logarithm; in place of `sigma`.
        sigma_vth: standard deviation of one transistor's threshold, in volts; in place of `sigma`.
        pelgrom: the arguments of `limpet.pelgrom`, which gives `sigma_vth`, as a mapping; in place of `sigma`.
        kappa: gate coupling, with `sigma_vth` and `pelgrom`; 0.705 if left out.
        thermal_voltage: U_T = kT/q in volts, with `sigma_vth` and `pelgrom`; 0.025 if left out.

    Raises:
        StrengthError: none or several strengths are given, or one that is not a finite number >= 0.
        LimpetError: `preserve` is neither of the two.

    Examples:
        >>> LogNormal(sigma_vth=5.05e-3)  # an n-type transistor of 1 square micrometre at 180 nm
        LogNormal(sigma=0.1431..., preserve='median')
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"current": True}, LogNormal(sigma=0.5))
        >>> deviated = mismatch(jax.random.key(0), {"current": jnp.full(100_000, 2.0)})["current"]
        >>> print(f"{jnp.median(deviated):.1f} {deviated.std() / deviated.mean():.1f} {deviated.min() > 0}")
        2.0 0.5 True
    """

    sigma: float = cast(float, None)
    preserve: Preserve = "median"
    sigma_ln: InitVar[float | None] = None
    sigma_vth: InitVar[float | None] = None
    kappa: InitVar[float | None] = None
    thermal_voltage: InitVar[float | None] = None
    pelgrom: InitVar[dict[str, float | bool] | None] = None

    def __post_init__(
        self,
        sigma_ln: float | None,
        sigma_vth: float | None,
        kappa: float | None,
        thermal_voltage: float | None,
        pelgrom: Mapping[str, Any] | None,
    ) -> None:
        name = type(self).__name__
        if pelgrom is not None:
            if sigma_vth is not None:
                raise StrengthError(f"{name}: sigma_vth follows from pelgrom: give one of the two")
            sigma_vth = _of_pelgrom(pelgrom, f"{name}.pelgrom")
        given = {"sigma": self.sigma, "sigma_ln": sigma_ln, "sigma_vth": sigma_vth}
        given = {key: checked_strength(value, f"{name}.{key}") for key, value in given.items() if value is not None}
        if len(given) != 1:
            raise StrengthError(
                f"{name}: give one of sigma, sigma_ln and sigma_vth, got {' and '.join(given) or 'none'}"
            )
        if sigma_vth is None and (kappa is not None or thermal_voltage is not None):
            raise StrengthError(f"{name}: kappa and thermal_voltage go with sigma_vth")
        ((key, strength),) = given.items()
        if key == "sigma_vth":
            strength *= _positive(kappa, KAPPA, f"{name}.kappa") / _positive(
                thermal_voltage, THERMAL_VOLTAGE, f"{name}.thermal_voltage"
            )
        logarithm = strength if key != "sigma" else math.sqrt(math.log1p(min(strength, 1e100) ** 2))
        if logarithm > LARGEST_SIGMA_LN:
            reason = (
                f"the logarithm would be off by {logarithm:.3g} (standard deviation), a factor beyond "
                f"{math.exp(LARGEST_SIGMA_LN):.0f}; allowed is {LARGEST_SIGMA_LN:g} at most. Are sigma_vth and "
                f"thermal_voltage both in volts?"
            )
            raise refusal(f"{name}.{key}", given[key], reason, StrengthError)
        if key != "sigma":
            strength = math.sqrt(math.expm1(strength**2))
        one_of(f"{name}.preserve", self.preserve, get_args(Preserve))
        object.__setattr__(self, "sigma", strength)

    @property
    def elementwise(self) -> bool:
        return True

    def distribution(self, strength: float = 1.0) -> Any:
        from scipy import stats

        square = math.log1p((self.sigma * strength) ** 2)
        median = math.exp(-square / 2) if self.preserve == "mean" else 1.0
        return stats.lognorm(math.sqrt(square), scale=median) if square else None

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        s = sigma_of_logarithm(self.sigma * strength)
        if self.preserve == "mean":
            value = value * jnp.exp(-s * s / 2)
        return value * power_of_two(draw.normal(value.shape, s / math.log(2)))


def sigma_of_logarithm(sigma: jax.Array) -> jax.Array:
    """`sqrt(ln(1 + sigma^2))`, also where sigma^2 is too small or too large for its floating-point type.

    Its derivative at 0 is 1, which that of the formula as it stands would not be (0 / 0).
    """
    square = jnp.square(jnp.minimum(sigma, LARGEST_AT_ANY_SCALE))
    counts = square > SMALLEST_SQUARE
    positive = jnp.where(counts, square, 1)
    return jnp.where(counts, jnp.sqrt(jnp.log1p(positive)), sigma)


def _of_pelgrom(arguments: Any, name: str) -> float:
    """The standard deviation of a threshold, in volts, from the arguments of Pelgrom's law.

    Raises:
        StrengthError: they are no such arguments.
    """
    allowed = signature(pelgrom_law).parameters
    needed = [key for key, parameter in allowed.items() if parameter.default is parameter.empty]
    if not isinstance(arguments, Mapping) or arguments.keys() - allowed.keys() or set(needed) - arguments.keys():
        more = listing(key for key in allowed if key not in needed)
        reason = f"allowed is a mapping of {', '.join(needed)} (in mV um and um), with {more} where they apply"
        raise refusal(name, arguments, reason, StrengthError)
    try:
        return pelgrom_law(**arguments)
    except StrengthError as error:
        raise StrengthError(f"{name}: {error}", name, str(error)) from None


def _positive(value: float | None, default: float, name: str) -> float:
    return default if value is None else number(name, value, 0, above=True)
