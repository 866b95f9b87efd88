"""Log-normal mismatch: currents of transistors below threshold."""

import math
from dataclasses import InitVar, dataclass
from typing import Literal, cast, get_args

import jax
import jax.numpy as jnp

from .._errors import LimpetError, StrengthError
from ..draws._strength import checked_strength
from ._deviation import Deviation
from ._draw import Draw

Preserve = Literal["median", "mean"]
KAPPA, THERMAL_VOLTAGE = 0.705, 25e-3
"""Gate coupling and kT/q in volts, as Rockpool's simulator of DYNAP-SE2 has them."""


@dataclass(frozen=True)
class LogNormal(Deviation):
    """Log-normal mismatch: `value * exp(s * n)`, n standard normal and independent for each element.

    Below threshold a transistor's current is exponential in its gate voltage, `I = I0 exp(kappa V / U_T)`, so a
    threshold that is off by dV ~ N(0, sigma_vth) multiplies the current by `exp(kappa dV / U_T)`. The current never
    changes its sign, and large deviations upwards are more frequent than with `Gaussian`. With s the standard deviation
    of the logarithm, `s = kappa sigma_vth / U_T` and `sigma = sqrt(exp(s^2) - 1)`.

    Give the strength by one of `sigma`, `sigma_ln` and `sigma_vth`. Whichever it is, a scale multiplies sigma, the
    relative standard deviation: at scale t, `s = sqrt(ln(1 + (t sigma)^2))`, so that a curve over sigma means the same
    for every deviation.

    Reference: K. Boahen, "Silicon circuit heterogeneity", EE 304 lecture 7, Stanford University.

    Attributes:
        sigma: standard deviation of the deviated value, relative to its mean (its coefficient of variation).
        preserve: "median": as many values lie above the nominal one as below, which is what a threshold that is off by
            as much either way gives, and the mean grows by exp(s^2 / 2); "mean": `value * exp(s * n - s^2 / 2)`, whose
            mean is the nominal value.

    Args:
        sigma_ln: s, the standard deviation of the logarithm; in place of `sigma`.
        sigma_vth: standard deviation of one transistor's threshold, in volts; in place of `sigma`.
        kappa: gate coupling, with `sigma_vth`; 0.705 if left out.
        thermal_voltage: U_T = kT/q in volts, with `sigma_vth`; 0.025 if left out.

    Raises:
        StrengthError: none or several strengths are given, or one that is not a finite number >= 0.
        LimpetError: `preserve` is neither of the two.

    Example:
        >>> LogNormal(sigma_vth=5.05e-3)  # an n-type transistor of 1 square micrometre at 180 nm
        LogNormal(sigma=0.1431..., preserve='median')
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"current": True}, LogNormal(sigma=0.5))
        >>> deviated = mismatch(jax.random.key(0), {"current": jnp.full(100_000, 2.0)})["current"]
        >>> print(f"{jnp.median(deviated):.2f} {deviated.std() / deviated.mean():.2f} {deviated.min() > 0}")
        2.00 0.50 True
    """

    sigma: float = cast(float, None)
    preserve: Preserve = "median"
    sigma_ln: InitVar[float | None] = None
    sigma_vth: InitVar[float | None] = None
    kappa: InitVar[float | None] = None
    thermal_voltage: InitVar[float | None] = None

    def __post_init__(
        self,
        sigma_ln: float | None,
        sigma_vth: float | None,
        kappa: float | None,
        thermal_voltage: float | None,
    ) -> None:
        name = type(self).__name__
        given = {"sigma": self.sigma, "sigma_ln": sigma_ln, "sigma_vth": sigma_vth}
        given = {key: checked_strength(value, f"{name}.{key}") for key, value in given.items() if value is not None}
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise StrengthError(f"{name}: give one of sigma, sigma_ln and sigma_vth, got {found}")
        if sigma_vth is None and (kappa is not None or thermal_voltage is not None):
            raise StrengthError(f"{name}: kappa and thermal_voltage go with sigma_vth")
        ((key, strength),) = given.items()
        if key == "sigma_vth":
            strength *= _positive(kappa, KAPPA, f"{name}.kappa") / _positive(
                thermal_voltage, THERMAL_VOLTAGE, f"{name}.thermal_voltage"
            )
        if key != "sigma":
            if strength > 10:
                raise StrengthError(
                    f"{name}: a logarithm that is off by {strength:.3g} (standard deviation) is a factor beyond 20,000; "
                    f"are sigma_vth and thermal_voltage both in volts?"
                )
            strength = math.sqrt(math.expm1(strength**2))
        if self.preserve not in get_args(Preserve):
            raise LimpetError(f"{name}.preserve = {self.preserve!r}: allowed are 'median' and 'mean'")
        object.__setattr__(self, "sigma", strength)

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        s = _sigma_of_logarithm(self.sigma * strength)
        exponent = draw.normal(value.shape, s)
        return value * jnp.exp(exponent if self.preserve == "median" else exponent - s * s / 2)


def _sigma_of_logarithm(sigma: jax.Array) -> jax.Array:
    """`sqrt(ln(1 + sigma^2))`, with a derivative at 0 too."""
    square = sigma * sigma
    positive = jnp.where(square == 0, 1, square)
    return sigma * jnp.where(square == 0, 1, jnp.sqrt(jnp.log1p(positive) / positive))


def _positive(value: float | None, default: float, name: str) -> float:
    checked = default if value is None else checked_strength(value, name)
    if checked == 0:
        raise StrengthError(f"{name} = {value!r}: allowed is a finite number > 0")
    return checked
