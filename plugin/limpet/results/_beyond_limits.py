"""Counts of values beyond the limits of their leaves, over strength. NumPy only."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from .. import _checked
from .._errors import MetricError
from ._robustness_curve import Axis


@dataclass(frozen=True, eq=False)
class BeyondLimits:
    """Counts of the values of an evaluation's virtual chips that were beyond the limits of their leaves.

    They are counted as they would be without limits, whatever is done with them: clipped, say.

    Attributes:
        leaves: the paths of those that have limits.
        limits: the limits of each in words, such as "0 to 1e-06 (clip)".
        sigmas: the strengths at which chips were measured, as on the curve's axis.
        share: the share of a leaf's values on all chips that were beyond, shape (strengths, leaves).
        chips_beyond: the number of chips on which a value of the leaf was, shape (strengths, leaves).
        chips: the number of all chips.
        axis: the meaning of `sigmas`, as in `limpet.RobustnessCurve`.
    """

    leaves: tuple[str, ...]
    limits: tuple[str, ...]
    sigmas: NDArray[np.float64]
    share: NDArray[np.float64]
    chips_beyond: NDArray[np.float64]
    chips: int
    axis: Axis = "sigma"

    def __post_init__(self) -> None:
        of = "counts beyond limits: "
        for name in ("sigmas", "share", "chips_beyond"):  # copies, as of every result
            object.__setattr__(self, name, np.array(getattr(self, name)))
        for name in ("leaves", "limits"):
            for words in getattr(self, name):
                _checked.text(f"{of}{name}", words, MetricError)
        _checked.whole(f"{of}chips", self.chips, 1, error=MetricError)
        _checked.one_of(f"{of}axis", self.axis, get_args(Axis), MetricError)
        if self.sigmas.dtype.kind not in "fiu" or not np.isfinite(self.sigmas).all():
            raise MetricError(f"{of}sigmas = {_checked.shown(self.sigmas)}: allowed are finite numbers")
        shape = (len(self.sigmas), len(self.leaves))
        if not self.share.shape == self.chips_beyond.shape == shape or len(self.limits) != shape[1] or 0 in shape:
            raise MetricError(f"{of}{shape[1]} leaves at {shape[0]} strengths, neither none, do not fit their counts")
        share, beyond = self.share, self.chips_beyond
        if not ((share >= 0) & (share <= 1) & (beyond >= 0) & (beyond <= self.chips)).all():
            raise MetricError(f"{of}allowed are shares from 0 to 1, and numbers of chips up to {self.chips}")
