"""Pelgrom's law: the larger a transistor, the smaller its mismatch."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .._checked import flag, number, refusal
from .._errors import StrengthError
from ..draws._strength import checked_strength


@overload
def pelgrom(
    a_vt: float, width: float, length: float, *, pair: bool = ..., delta_width: float = ..., delta_length: float = ...
) -> float: ...
@overload
def pelgrom(
    a_vt: float,
    width: NDArray[np.floating] | Sequence[float],
    length: NDArray[np.floating] | Sequence[float] | float,
    *,
    pair: bool = ...,
    delta_width: float = ...,
    delta_length: float = ...,
) -> NDArray[np.float64]: ...
def pelgrom(
    a_vt: float,
    width: Any,
    length: Any,
    *,
    pair: bool = False,
    delta_width: float = 0.0,
    delta_length: float = 0.0,
) -> Any:
    """The standard deviation of a transistor's threshold, in volts: `a_vt / sqrt(width * length)`.

    Reference: M. J. M. Pelgrom, A. C. J. Duinmaijer and A. P. G. Welbers (1989), "Matching properties of MOS
    transistors", IEEE J. Solid-State Circuits 24:1433. There A_VT is that of the difference between two transistors,
    whose standard deviation is sqrt(2) times that of one; design kits give either. Of the GF180MCU kit, 7.148 mV um is
    the pair's (n-type, 3.3 V), and 0.7071 times that, 5.05 mV um, a single transistor's.

    Args:
        a_vt: A_VT, in millivolts times micrometres (mV um).
        width: the width of the gate, in micrometres; or an array of widths, for as many results (`limpet.Graded` takes
            them as factors, one for each transistor of an array).
        length: the length of the gate, in micrometres; or an array of lengths.
        pair: whether `a_vt` is that of the difference of a pair; it is then divided by sqrt(2), because what deviates
            here is one transistor.
        delta_width: how much wider the channel is than the gate as it is drawn, in micrometres, where a design kit
            divides by effective dimensions; negative where it is narrower.
        delta_length: how much longer the channel is than the gate as it is drawn, in micrometres; negative where it is
            shorter.

    Raises:
        StrengthError: `a_vt` is no finite number >= 0, or a dimension, drawn or effective, none above 0.

    Examples:
        >>> print(f"{pelgrom(5.05, width=1.0, length=0.5):.5f} {pelgrom(7.148, 1.0, 0.5, pair=True):.5f}")
        0.00714 0.00715
        >>> import limpet
        >>> print(f"{limpet.LogNormal(sigma_vth=pelgrom(5.05, 1.0, 0.5)).sigma:.2f}")
        0.20
    """
    if np.ndim(width) or np.ndim(length):
        of = partial(pelgrom, a_vt, pair=pair, delta_width=delta_width, delta_length=delta_length)
        widths, lengths = np.broadcast_arrays(width, length)
        found = [of(*sizes) for sizes in zip(widths.ravel(), lengths.ravel(), strict=True)]
        return np.array(found).reshape(widths.shape)
    a_vt = checked_strength(a_vt, "a_vt")
    area = _effective("width", width, delta_width) * _effective("length", length, delta_length)
    return a_vt * 1e-3 / math.sqrt(area) / (math.sqrt(2) if flag("pair", pair, StrengthError) else 1)


def _effective(name: str, drawn: float, delta: float) -> float:
    """The dimension of the channel, from that of the gate as it is drawn."""
    effective = number(name, drawn, 0, above=True) + number(f"delta_{name}", delta)
    if effective <= 0:
        reason = f"with delta_{name} = {delta} the channel's is {effective:g}; allowed is one above 0"
        raise refusal(name, drawn, reason, StrengthError)
    return effective
