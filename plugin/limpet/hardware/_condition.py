"""See `limpet.results._condition`."""

from ..results._condition import Condition as Condition
from ..results._condition import condition_of as condition_of
