"""Pelgrom's law: the larger a transistor, the smaller its mismatch."""

import math

from .._checked import flag, number
from .._errors import StrengthError
from ..draws._strength import checked_strength


def pelgrom(a_vt: float, width: float, length: float, *, pair: bool = False) -> float:
    """The standard deviation of a transistor's threshold, in volts: `a_vt / sqrt(width * length)`.

    Reference: M. J. M. Pelgrom, A. C. J. Duinmaijer and A. P. G. Welbers (1989), "Matching properties of MOS
    transistors", IEEE J. Solid-State Circuits 24:1433. There A_VT is that of the difference between two transistors,
    whose standard deviation is sqrt(2) times that of one; design kits give either. Of the GF180MCU kit, 7.148 mV um is
    the pair's (n-type, 3.3 V), and 0.7071 times that, 5.05 mV um, a single transistor's.

    Args:
        a_vt: A_VT, in millivolts times micrometres (mV um).
        width: the width of the gate, in micrometres.
        length: the length of the gate, in micrometres.
        pair: whether `a_vt` is that of the difference of a pair; it is then divided by sqrt(2), because what deviates
            here is one transistor.

    Raises:
        StrengthError: `a_vt` is no finite number >= 0, or a dimension none above 0.

    Examples:
        >>> print(f"{pelgrom(5.05, width=1.0, length=0.5):.5f} {pelgrom(7.148, 1.0, 0.5, pair=True):.5f}")
        0.00714 0.00715
        >>> import limpet
        >>> print(f"{limpet.LogNormal(sigma_vth=pelgrom(5.05, 1.0, 0.5)).sigma:.2f}")
        0.20
    """
    a_vt = checked_strength(a_vt, "a_vt")
    area = number("width", width, 0, above=True) * number("length", length, 0, above=True)
    return a_vt * 1e-3 / math.sqrt(area) / (math.sqrt(2) if flag("pair", pair, StrengthError) else 1)
