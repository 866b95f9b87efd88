"""The distributions by which values deviate, a file each, and the laws by which parameters depend on the value."""

from ..draws._strength import sigma_of_percent as sigma_of_percent
from ._additive import Additive as Additive
from ._binary_branches import BinaryBranches as BinaryBranches
from ._chain import Chain as Chain
from ._crossbar import Crossbar as Crossbar
from ._deviation import Deviation as Deviation
from ._deviation import checked_deviation as checked_deviation
from ._deviation import sigma_of as sigma_of
from ._draw import Draw as Draw
from ._drift import Drift as Drift
from ._drop_connect import DropConnect as DropConnect
from ._empirical import Empirical as Empirical
from ._gaussian import Gaussian as Gaussian
from ._kinds import DEVIATIONS as DEVIATIONS
from ._kinds import described as described
from ._kinds import deviation_class as deviation_class
from ._kinds import kind_of as kind_of
from ._kinds import label as label
from ._law import Law as Law
from ._law import Logarithm as Logarithm
from ._law import Polynomial as Polynomial
from ._law import Power as Power
from ._law import Saturation as Saturation
from ._law import Split as Split
from ._log_normal import LogNormal as LogNormal
from ._off import Off as Off
from ._pelgrom import pelgrom as pelgrom
from ._programming import Programming as Programming
from ._quantize import Quantize as Quantize
from ._read_noise import ReadNoise as ReadNoise
from ._relaxation import Relaxation as Relaxation
from ._right_censored_gaussian import RightCensoredGaussian as RightCensoredGaussian
from ._shared import Shared as Shared
from ._spatial import Spatial as Spatial
from ._stuck import Stuck as Stuck
from ._student_t import StudentT as StudentT
from ._synapse_branches import SynapseBranches as SynapseBranches
from ._synapse_branches import sums_of as sums_of
from ._to_largest import ToLargest as ToLargest
from ._truncated_gaussian import TruncatedGaussian as TruncatedGaussian
from ._uniform import Uniform as Uniform

__all__ = [name for name in dir() if not name.startswith("_")]  # pyright: ignore[reportUnsupportedDunderAll]
