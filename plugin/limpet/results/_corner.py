"""Named chips: the worst, the one at a quantile, and the one some standard deviations away. Python only."""

import math
import re
from dataclasses import dataclass
from typing import Any

from .._checked import shown
from .._errors import MetricError
from ..draws._generator import Generator
from ._condition import Condition, condition_label

ALLOWED = "allowed are 'worst', a quantile of the metric such as 0.05, and deviations from its median such as '3 sigma'"


@dataclass(frozen=True)
class Corner:
    """A virtual chip with a name, which says where it stands among the others: the worst, the median, 3 sigma away.

    It holds all that the chip follows from. `limpet.freeze` and `limpet.on_chip` take it as it is; a configuration
    (`training.frozen`) and the command line take its numbers.

    Attributes:
        name: where the chip stands, such as "worst", "5%" or "3 sigma".
        chip: the number of the chip.
        seed: the seed of the chip.
        generator: the generator of the chip.
        condition: the condition under which it was looked at.
        metric: the name of the metric.
        value: the metric of the chip under that condition.
        fingerprint: a hash of the hardware, in which a sigma that all leaves share does not count; empty where it is
            not known.
    """

    name: str
    chip: int
    seed: int
    generator: Generator
    condition: Condition
    metric: str
    value: float
    fingerprint: str = ""

    def require_of(self, fingerprint: str) -> None:
        """Refuse other hardware, on which a chip of that number is another one.

        Raises:
            MetricError: the fingerprint is not that of the hardware on which the corner was found.
        """
        if self.fingerprint and self.fingerprint != fingerprint:
            raise MetricError(
                f"the corner '{self.name}' (chip {self.chip}) was found on hardware of fingerprint {self.fingerprint}, "
                f"and this one's is {fingerprint}: on it, that number names another chip. Hand over the hardware that "
                f"was measured (recipe.with_sigma(1.0) for a curve over sigmas whose leaves deviate at different ones)"
            )

    def __str__(self) -> str:
        return (
            f"{self.name}: chip {self.chip} of seed {self.seed} at {condition_label(self.condition)}, "
            f"{self.metric} {self.value:.4g}"
        )


def place_among(which: Any, chips: int, higher_is_better: bool) -> tuple[str, int]:
    """The name of a corner, and how many of the chips are worse.

    Raises:
        MetricError: `which` names no corner, or one that so few chips do not show.

    Examples:
        >>> place_among(0.05, 100, True), place_among(0.05, 100, False), place_among("2 sigma", 100, True)
        (('5%', 4), ('5%', 95), ('2 sigma', 2))
    """
    if which == "worst":
        return "worst", 0
    if isinstance(which, str) and (found := re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*sigma\s*", which)):
        name, worse = f"{float(found[1]):g} sigma", _beyond(float(found[1]))
    elif isinstance(which, int | float) and not isinstance(which, bool) and 0 < which < 1:
        name, worse = f"{100 * which:.6g}%", float(which if higher_is_better else 1 - which)
    else:
        raise MetricError(f"corner {shown(which)}: {ALLOWED}")
    share = min(worse, 1 - worse)
    if share * chips < 1 - 1e-9:
        rarity = 1 / share if share else math.inf
        more = f"measure {math.ceil(rarity - 1e-9):,} at least, or " if rarity < 1e6 else ""
        raise MetricError(
            f"corner '{name}': one chip in {rarity:.4g} is as far out, which {chips} chips do not show: {more}find "
            f"such chips by limpet.tail_yield"
        )
    count = math.ceil(share * chips - 1e-9)
    return name, count - 1 if worse <= 0.5 else chips - count


def _beyond(sigmas: float) -> float:
    """The probability of a normal number farther out than so many standard deviations."""
    return math.erfc(sigmas / math.sqrt(2)) / 2
