"""The types by which functions of one's own say what they take: settings that are texts, metrics, schedules."""

from .draws._generator import Generator as Generator
from .hardware._leaf_draw import Gradient as Gradient
from .hardware._limits import Policy as Policy
from .leaves._adapter import Leaves as Leaves
from .leaves._adapter import Range as Range
from .measure._description import Direction as Direction
from .measure._evaluator import Started as Started
from .measure._metric import MetricFn as MetricFn
from .measure._metric import ScalarMetric as ScalarMetric
from .objectives._step_chips import Injector as Injector
from .training._injection import Schedule as Schedule
