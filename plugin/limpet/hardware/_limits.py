"""Limits: the range in which the values of a part can be."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from .._checked import number, one_of
from .._errors import LimpetError
from .._jax import is_traced
from ..deviations._deviation import Deviation
from ..deviations._draw import Draw
from ..deviations._within import deviate_within, supports_within
from ..leaves._adapters import NAMED_LIMITS

Policy = Literal["truncate", "clip", "report", "error"]
"""What happens where a deviated value leaves its range."""


@dataclass(frozen=True)
class Limits:
    """The operating range of a part: between which values the chip can hold it.

    What happens at the limits is the `policy`:

    - "clip": a value beyond a limit is the limit, as where a circuit saturates. No gradient passes through it.
    - "truncate": every value is drawn given that it lies within, as where chips beyond are sorted out: from the
      deviation's own distribution, conditioned on the range. Supported for `Gaussian` and `LogNormal`. It is another
      draw than without limits, takes longer, and mirror images of it are no exact opposites.
    - "report": nothing changes; `limpet.limits_report` counts what lies beyond.
    - "error": a chip with values beyond is refused, by `limpet.freeze` and wherever else one is drawn outside of a
      compiled function, and by `limpet.robustness_curve`. In a compiled function, such as a training step, nothing
      changes; `limpet.limits_report` counts.

    Limits act on what is drawn at any scale, 0 included: a nominal value beyond them is none that the chip can hold.

    Attributes:
        low: the smallest value; None for none. Where it is 0, 0 itself is beyond: a current, a capacitance is above 0.
            Clipped, it becomes the smallest normal number of its type, by which little can be divided: better to say
            how small a value the part can hold.
        high: the largest value; None for none.
        policy: the policy, as said above.
        table: the name, in place of `low` and `high`, of a table that has them by leaf: "dynapse" for the currents of
            Rockpool's DynapSim, from the bias generator of DYNAP-SE2. Leaves that it does not know have no limits.

    Raises:
        LimpetError: an argument is none of these, `low` is not below `high`, or there is no limit at all.

    Examples:
        >>> import limpet
        >>> currents = limpet.Part("current", limpet.Gaussian(sigma=0.5), Limits(low=0.5, high=2.0))
        >>> network = {"current": jnp.ones(100_000)}
        >>> chip = limpet.Hardware(currents=currents).on(network)(jax.random.key(0), network)["current"]
        >>> print(f"{chip.min():.1f} {chip.max():.1f}")
        0.5 2.0
    """

    low: float | None = None
    high: float | None = None
    policy: Policy = "clip"
    table: str | None = None

    def __post_init__(self) -> None:
        for key in ("low", "high"):
            object.__setattr__(self, key, _checked_limit(getattr(self, key), f"Limits.{key}"))
        one_of("Limits.policy", self.policy, get_args(Policy))
        if self.table is not None:
            one_of("Limits.table", self.table, tuple(NAMED_LIMITS))
        if (self.table is None) == (self.low is None and self.high is None):
            raise LimpetError("Limits: give low, high or both; or a table that has them by leaf")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise LimpetError(f"Limits: low = {self.low:g} is not below high = {self.high:g}")

    def require_fit(self, deviation: Deviation) -> None:
        """Refuse a deviation that cannot be drawn within limits.

        Raises:
            LimpetError: the policy is "truncate", and the distribution cannot be conditioned on a range.
        """
        if self.policy == "truncate" and not supports_within(deviation):
            raise LimpetError(
                f"limits with policy 'truncate' need a distribution that is known: limpet.Gaussian or "
                f"limpet.LogNormal, got {deviation!r}; clip its values, or count them by policy 'report'"
            )

    def drawn_within(self, deviation: Deviation, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        """One draw of an array given that it is within the limits, up to rounding."""
        return deviate_within(deviation, draw, value, strength, self.low, self.high)

    @property
    def acts(self) -> bool:
        """Whether the limits change values."""
        return self.policy in ("truncate", "clip")

    def ends(self, dtype: Any) -> tuple[float | None, float | None]:
        """The smallest and the largest value of a type within the limits."""
        return float(jnp.finfo(dtype).tiny) if self.low == 0 else self.low, self.high

    def beyond(self, value: jax.Array) -> jax.Array:
        """Which values lie beyond the limits; NaN counts as beyond."""
        low, high = self.ends(value.dtype)
        return ~((value >= (-jnp.inf if low is None else low)) & (value <= (jnp.inf if high is None else high)))

    def require(self, value: Any, path: str) -> None:
        """Refuse values beyond the limits, where they are known.

        Raises:
            LimpetError: names the leaf, how many values there are, and the worst of them.
        """
        if is_traced(value) or not (count := int(self.beyond(value).sum())):
            return
        low, high = self.ends(value.dtype)
        raise LimpetError(
            f"leaf '{path}': {count} of {value.size} values of this chip are beyond the limits "
            f"({'none' if low is None else f'{low:.6g}'} to {'none' if high is None else f'{high:.6g}'}); they go from "
            f"{float(value.min()):.6g} to {float(value.max()):.6g}. Take another chip, a smaller deviation, or limits "
            f"with policy 'clip' or 'truncate'; limpet.limits_report says how many chips are like this"
        )

    def described(self) -> dict[str, Any]:
        """The limits as plain values, as a configuration writes them."""
        given = {key: getattr(self, key) for key in ("table", "low", "high")}
        return {key: value for key, value in given.items() if value is not None} | {"policy": self.policy}

    def label(self) -> str:
        """The limits in a few words.

        Examples:
            >>> Limits(low=1e-13, policy="report").label()
            'limits 1e-13 to none (report)'
        """
        ends = (f"{end:g}" if end is not None else "none" for end in (self.low, self.high))
        return f"limits {self.table or ' to '.join(ends)} ({self.policy})"


def checked_limits(limits: Any) -> Limits | None:
    """Limits, or none.

    Raises:
        LimpetError: it is neither.
    """
    if limits is None or isinstance(limits, Limits):
        return limits
    raise LimpetError(f"limits = {limits!r}: give limpet.Limits(low, high), or None")


def _checked_limit(limit: Any, name: str) -> float | None:
    return None if limit is None else number(name, limit, error=LimpetError)
