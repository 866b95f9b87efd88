"""Probes on the leaves of a tree of any framework."""

from collections.abc import Iterable
from typing import Any

from ..flow._probe import ProbeNotes, plant
from ._adapters import adapter_of


def probed(tree: Any, paths: Iterable[str], notes: ProbeNotes) -> Any:
    """The same tree with a probe on each of the leaves named; see `plant`."""
    leaves, structure = adapter_of(tree).flattened(tree)
    return structure.unflatten(plant(leaves, paths, notes).values())
