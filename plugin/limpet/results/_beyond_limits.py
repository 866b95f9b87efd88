"""How many values were beyond the limits of their leaves, on how many chips, over strength. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._robustness_curve import Axis


@dataclass(frozen=True, eq=False)
class BeyondLimits:
    """How many values of the virtual chips of an evaluation were beyond the limits of their leaves.

    They are counted as they would be without limits, whatever is done with them: clipped, say.

    Attributes:
        leaves: the paths of those that have limits.
        limits: of each, in words, such as "0 to 1e-06 (clip)".
        sigmas: the strengths at which chips were measured, as on the curve's axis.
        share: of all values of a leaf on all chips, how many were beyond, shape (strengths, leaves).
        chips_beyond: on how many chips a value of the leaf was, shape (strengths, leaves).
        chips: how many chips there were.
        axis: what `sigmas` are; see `limpet.RobustnessCurve`.
    """

    leaves: tuple[str, ...]
    limits: tuple[str, ...]
    sigmas: NDArray[np.float64]
    share: NDArray[np.float64]
    chips_beyond: NDArray[np.float64]
    chips: int
    axis: Axis = "sigma"
