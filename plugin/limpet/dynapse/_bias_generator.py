"""The bias generator of DYNAP-SE2: currents in steps."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limpet import LimpetError
from limpet.checks import one_of
from limpet.rockpool import imported

DEVICE_NAMES: Mapping[str, tuple[str, ...]] = {
    "Idc": ("SOIF_DC_P",),
    "If_nmda": ("DENM_NMREV_N",),
    "Igain_ahp": ("SOAD_GAIN_P",),
    "Igain_mem": ("SOIF_GAIN_N",),
    "Igain_syn": ("DEAM_EGAIN_P", "DEGA_IGAIN_P", "DENM_EGAIN_P", "DESC_IGAIN_P"),
    "Ipulse_ahp": ("SOAD_PWTAU_N",),
    "Ipulse": ("SYPD_EXT_N",),
    "Iref": ("SOIF_REFR_N",),
    "Ispkthr": ("SOIF_SPKTHR_P",),
    "Itau_ahp": ("SOAD_TAU_P",),
    "Itau_mem": ("SOIF_LEAK_N",),
    "Itau_syn": ("DEAM_ETAU_P", "DEGA_ITAU_P", "DENM_ETAU_P", "DESC_ITAU_P"),
    "Iw_ahp": ("SOAD_W_N",),
    "Iw_0": ("SYAM_W0_P",),
    "Iw_1": ("SYAM_W1_P",),
    "Iw_2": ("SYAM_W2_P",),
    "Iw_3": ("SYAM_W3_P",),
}
"""By current of the simulator, the parameters of the chip that it is. (The four dendrites are one in the simulator, and
their parameters have one factor and one type of transistor.)"""

COARSE, FINE = 6, 256


def bias_currents(name: str) -> NDArray[np.float64]:
    """All currents in amperes that the bias generator gives for one parameter.

    Rows are coarse values, 0 to 5, columns are fine values, 0 to 255. Within a row they do not always increase: the
    current drops where the upper three bits of the fine value change.

    Args:
        name: the name of a current of Rockpool's DynapSim, such as "Itau_mem", or "Iw_0" to "Iw_3", the currents of
            weights.

    Raises:
        LimpetError: there is no such current.

    Examples:
        >>> import limpet.dynapse
        >>> limpet.dynapse.bias_currents("Itau_mem").shape
        (6, 256)
    """
    device = DEVICE_NAMES[one_of("name", name, DEVICE_NAMES)][0]
    lookup = _lookup()
    return _table(device[-1]) * lookup.scale_factor_se2[device]


def bias_codes(name: str, currents: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The coarse and fine values that come nearest to currents, and what they give.

    Equal to `analog_to_digital` of Rockpool, for a whole array at once.

    Args:
        name: the name of the current, as for `bias_currents`.
        currents: the currents in amperes, of any shape.

    Returns:
        Coarse and fine values, along a new last axis; and the currents in amperes that the generator gives for them.

    Raises:
        LimpetError: there is no such current, or a value is not finite.

    Examples:
        >>> import limpet.dynapse
        >>> codes, given = limpet.dynapse.bias_codes("Itau_mem", [5.319e-12])
        >>> codes.shape, bool(abs(given[0] / 5.319e-12 - 1) < 0.01)
        ((1, 2), True)
    """
    wanted = np.asarray(currents, float)
    table = bias_currents(name)
    if not np.isfinite(wanted).all():
        raise LimpetError(f"{name}: {wanted[~np.isfinite(wanted)].ravel()[0]} is no current: give amperes")
    nearest = np.abs(table.ravel() - wanted[..., None]).argmin(axis=-1)
    return np.stack(np.divmod(nearest, FINE), axis=-1), table.ravel()[nearest]


@cache
def _lookup() -> Any:
    return imported("rockpool.devices.dynapse.lookup")


@cache
def _table(kind: str) -> NDArray[np.float64]:
    """The currents before they are scaled, for one type of transistor."""
    generated = _lookup().paramgen_se2[kind]
    return np.array([generated[coarse] for coarse in range(COARSE)], float)
