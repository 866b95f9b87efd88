"""A time since programming that training draws anew at each step."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .._checked import refusal
from ..results._duration import seconds


@dataclass(frozen=True)
class LogUniform:
    """Times between two bounds, of which every decade is as likely as another: what chips that drift are trained at.

    Attributes:
        low: the shortest time since programming, in seconds or as a text such as "25 s"; above 0.
        high: the longest one.

    Raises:
        LimpetError: a bound is no time above 0, or the bounds do not rise.

    Examples:
        >>> times = LogUniform("25 s", "1 year")
        >>> bool(25 <= times.at(jax.random.key(0)) <= times.high)
        True
    """

    low: float | str
    high: float | str

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, seconds(getattr(self, name), f"LogUniform.{name}"))
        if not 0 < self.low < self.high < math.inf:  # pyright: ignore[reportOperatorIssue]
            raise refusal("LogUniform", (self.low, self.high), "allowed are two times above 0, the shorter one first")

    def at(self, key: jax.Array) -> jax.Array:
        """The time that a random key draws, in seconds, shape ()."""
        low, high = (math.log(time) for time in (self.low, self.high))  # pyright: ignore[reportArgumentType]
        return jnp.exp(jax.random.uniform(key, (), jnp.result_type(float), low, high))
