"""Pelgrom's law: how far the thresholds of transistors are off, by their size."""

import math

from .._errors import StrengthError
from ..draws._strength import checked_strength


def pelgrom(a_vt: float, width: float, length: float, *, pair: bool = False) -> float:
    """The standard deviation of a threshold voltage: `a_vt / sqrt(width * length)`, in volts.

    The larger a transistor, the more of its atoms' differences average out. Foundries state a_vt for the *difference*
    of two transistors or for one alone; the first is sqrt(2) times the second.

    Reference: M. Pelgrom, A. Duinmaijer, A. Welbers (1989), "Matching properties of MOS transistors", IEEE Journal of
    Solid-State Circuits 24:1433.

    Args:
        a_vt: the process's constant, in mV um.
        width: of the channel, in um.
        length: of the channel, in um.
        pair: whether `a_vt` is that of the difference of two transistors.

    Returns:
        Standard deviation of one transistor's threshold in volts, for `limpet.LogNormal(sigma_vth=...)`.

    Raises:
        StrengthError: an argument is no finite number >= 0, or the size is 0.

    Example:
        >>> pelgrom(5.05, width=2.0, length=0.5)
        0.00505
    """
    a_vt = checked_strength(a_vt, "a_vt")
    area = checked_strength(width, "width") * checked_strength(length, "length")
    if not area:
        raise StrengthError(f"width = {width}, length = {length}: allowed are numbers above 0, in um")
    return a_vt * 1e-3 / math.sqrt(area) / (math.sqrt(2) if pair else 1)
