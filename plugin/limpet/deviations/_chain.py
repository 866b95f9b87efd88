"""Several deviations of one array, one after another."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import jax

from .._checked import refusal
from .._errors import LimpetError
from ._deviation import UNNAMED_LEVELS, Deviation, checked_deviation
from ._draw import Draw
from ._quantize import Quantize
from ._rescaled import acting_of
from ._systematic import Systematic
from ._to_largest import ToLargest


@dataclass(frozen=True)
class Chain(Deviation):
    """Deviations in the order in which hardware acts: quantise, then program, then drift.

    Each takes what the one before it gives, with random numbers of its own, which follow from its class and from how
    many of that class stand before it: a deviation put in between changes no other one's draw. All share one strength.

    What a device was to hold goes along the chain: the values after rounding, or what a `Programming` or a `Crossbar`
    was given. The largest value, the level of a stuck device, and what drift depends on are taken of that; read noise
    depends on what devices held before time passed.

    Attributes:
        members: the deviations, the first to act first.

    Raises:
        LimpetError: there is none, one is no deviation, or two draw the same numbers, as levels of one name would.

    Examples:
        >>> import limpet
        >>> both = Chain((limpet.LogNormal(sigma=0.1), limpet.TruncatedGaussian(sigma=0.05)))
        >>> mismatch = limpet.Mismatch({"w": True}, both)
        >>> deviated = mismatch(jax.random.key(0), {"w": jax.numpy.ones(100_000)})["w"]
        >>> print(f"{deviated.std():.2f}")  # sqrt(0.1^2 + 0.05^2) = 0.112
        0.11
    """

    members: tuple[Deviation, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.members, tuple | list) or not self.members:
            raise refusal("Chain.members", self.members, "give one deviation or more, in a tuple")
        members = tuple(checked_deviation(member, f"Chain.members[{i}]") for i, member in enumerate(self.members))
        object.__setattr__(self, "members", members)
        levels = Counter(member.level for member in members)
        if twice := [level for level, count in levels.items() if count > 1 and level not in UNNAMED_LEVELS]:
            raise LimpetError(
                f"Chain.members: two of them are named {twice[0]!r}, so that they would draw the same numbers and not "
                f"add up as levels do: give each a name= of its own"
            )

    @property
    def elementwise(self) -> bool:
        return all(member.elementwise for member in self.members)

    @property
    def relative(self) -> bool:
        return all(member.relative for member in self.members)

    @property
    def relative_spread(self) -> float | None:
        known = [spread for member in self.members if (spread := member.relative_spread) is not None]
        return math.hypot(*known) if known else None

    @property
    def batched(self) -> bool:
        return len(self.members) > 1 or any(member.batched for member in self.members)

    def distribution(self, strength: float = 1.0) -> Any:
        """Known of one deviation that has one beside common gains: its own law, times these."""
        common = [member for member in self.members if isinstance(member, Systematic) and member.relative]
        others = [member for member in self.members if member not in common]
        if len(others) != 1 or (law := others[0].distribution(strength)) is None:
            return None
        return _times(law, math.prod(member.gain for member in common))

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        before: Counter[str] = Counter()
        target, programmed = draw.written or (value, value)
        for member in self.members:
            acting = acting_of(member)
            rounds = isinstance(acting, Quantize)
            if isinstance(acting, ToLargest):
                if acting.programs and value is not target:
                    draw = replace(draw, written=(value, value), largest=None)
                    target = value
                if value is target:
                    value = target = programmed = acting.held(draw, value)
            draw = replace(draw, written=(target, programmed))
            if rounds:  # the largest value stays: it is found once, and what comes back for it is added up once
                draw = replace(draw, largest=(acting.relative_to, acting.largest(draw, value)))
            kind = type(acting).__qualname__
            value = member.deviate(draw.stream(f"{kind} {before[kind]}"), value, strength)
            before[kind] += 1
            if rounds:
                target = value
            if not (member.timed or member.noisy_reads):
                programmed = value
        return value


def _times(law: Any, gain: float) -> Any:
    """The law of a factor that is a gain times one of another law, a frozen distribution of `scipy.stats`."""
    shapes, placed = law.args[: law.dist.numargs], law.args[law.dist.numargs :]
    given = dict(zip(("loc", "scale"), placed, strict=False)) | law.kwds
    return law.dist(*shapes, **given | {"loc": gain * given.get("loc", 0.0), "scale": gain * given.get("scale", 1.0)})
