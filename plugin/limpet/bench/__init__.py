"""Chips from the bench: tables of measurements, and what they say of the hardware."""

from ._components import Component as Component
from ._fit import Fit as Fit
from ._measurements import Measurements as Measurements
from ._measurements import read_measurements as read_measurements
from ._model import BySetValue as BySetValue
from ._model import ByTime as ByTime
from ._parameter_fit import ParameterFit as ParameterFit
