"""A model of any framework as leaves with paths: what an adapter is, and how leaves are found, chosen and replaced."""

from .._jax import is_traced as is_traced
from ._adapter import Adapter as Adapter
from ._adapters import adapter_of as adapter_of
from ._adapters import unboxed as unboxed
from ._paths import is_real as is_real
from ._paths import leaves_by_path as leaves_by_path
from ._prototype import selection as selection
from .tree import PlainTree as PlainTree
from .tree import nested as nested
