"""What was measured, and how it is told: curves, yields and comparisons, which need NumPy and SciPy alone."""

from ._beyond_limits import BeyondLimits as BeyondLimits
from ._calibration import Calibration as Calibration
from ._chip_metrics import ChipMetrics as ChipMetrics
from ._comparison import Comparison as Comparison
from ._comparison import compare as compare
from ._duration import seconds as seconds
from ._duration import words as words
from ._provenance import are_same_chips as are_same_chips
from ._provenance import common_chips as common_chips
from ._provenance import excluded_words as excluded_words
from ._provenance import hardware_names as hardware_names
from ._robustness_curve import RobustnessCurve as RobustnessCurve
from ._sensitivity import Sensitivity as Sensitivity
from ._yield import Yield as Yield
from ._yield import yield_of as yield_of
from ._yield_difference import YieldDifference as YieldDifference
from ._yield_difference import yield_difference as yield_difference
