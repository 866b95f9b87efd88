"""Several deviations of one array, one after another."""

from collections import Counter
from dataclasses import dataclass, replace

import jax

from .._checked import refusal
from .._errors import LimpetError
from ._deviation import UNNAMED_LEVELS, Deviation, checked_deviation
from ._draw import Draw
from ._off import Off
from ._programming import Programming
from ._quantize import Quantize


@dataclass(frozen=True)
class Chain(Deviation):
    """Deviations in the order in which hardware acts: quantise, then program, then drift.

    Each takes what the one before it gives, with random numbers of its own, which follow from its class and from how
    many of that class stand before it: a deviation put in between changes no other one's draw. All share one strength.

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
    def batched(self) -> bool:
        return len(self.members) > 1 or any(member.batched for member in self.members)

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        before: Counter[str] = Counter()
        for member in self.members:
            acting = member.deviation if isinstance(member, Off) else member
            kind, target = type(acting).__qualname__, value
            rounds = isinstance(acting, Quantize)
            if rounds:  # the largest value stays: it is found once, and what comes back for it is added up once
                draw = replace(draw, largest=(acting.reference, acting.largest(draw, value)))
            value = member.deviate(draw.stream(f"{kind} {before[kind]}"), value, strength)
            before[kind] += 1
            if not rounds:
                draw = replace(draw, largest=None)
            if isinstance(acting, Programming):  # drift and read noise depend on what was written
                draw = replace(draw, written=(target, value))
        return value
