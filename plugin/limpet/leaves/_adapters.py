"""The adapter of each framework, and which of them a model needs."""

from typing import Any

from .._checked import shown
from .._errors import PrototypeError
from ._adapter import Adapter, Leaves
from .equinox import Equinox
from .flax_nnx import FlaxNnx, FlaxNnxState
from .rockpool import Rockpool
from .tree import PlainTree

ADAPTERS: tuple[Adapter, ...] = (Rockpool(), FlaxNnx(), FlaxNnxState(), Equinox(), PlainTree())
"""Asked in this order; the last one takes every tree."""

NAMED_SELECTIONS = ("matrices", *(name for adapter in ADAPTERS for name in adapter.selections))
"""All names that stand for a selection of leaves, in whatever framework."""

NAMED_LIMITS = tuple(name for adapter in ADAPTERS for name in adapter.limits)
"""All names that stand for a table of limits, in whatever framework."""


def adapter_of(model: Any) -> Adapter:
    """The adapter for a model.

    Examples:
        >>> adapter_of({"w": 1.0}).name
        'a tree of arrays'
    """
    if type(model) in (dict, list, tuple):  # of which no framework makes its models: most trees need not be asked about
        return ADAPTERS[-1]
    return next(adapter for adapter in ADAPTERS if adapter.recognises(model))


def some_leaves(model: Any) -> Leaves:
    """The leaves of a model by path, of which it has some.

    Raises:
        PrototypeError: it has none.
    """
    leaves = adapter_of(model).leaves(model)
    if not leaves.keys() - {""}:  # "" is the path of what is no tree
        raise PrototypeError(
            f"{shown(model)} has no leaves: give a tree of arrays, such as a Linen module's variables = "
            f"model.init(key, example), a Flax nnx module, or a Rockpool module"
        )
    return leaves


def never_read(path: str) -> bool:
    """Whether a leaf of this path is one that its framework registers but never reads."""
    return any(adapter.never_read(path) for adapter in ADAPTERS)


def unboxed(value: Any) -> Any:
    """The array in a framework's own box, such as an nnx variable; anything else as it is."""
    for adapter in ADAPTERS:
        value = adapter.unboxed(value)
    return value
