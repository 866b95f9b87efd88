"""What Limpet must know of a framework's models, and where it is known."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

from ..arrays._array import Array

Leaves = dict[str, Any]
"""Values by leaf path, in flattening order."""

Range = tuple[float | None, float | None]
"""The smallest and the largest value of a leaf; None for none."""


class Structure(Protocol):
    """What a tree is without its leaves; hashable."""

    def unflatten(self, leaves: Iterable[Any]) -> Any: ...


class Adapter(Protocol):
    """One framework's models, seen as leaves with paths. A class without state; one file for each framework.

    A *model* is what the user holds: a module, or a parameter tree. A *tree* is what a loss or a metric gets in its
    place: nested dicts for a Rockpool module, a module for Flax nnx, the same kind of tree for a tree.
    """

    name: str
    """What messages call such a model: "a Rockpool module"."""

    stateful: bool
    """Whether a forward pass writes state in such a model, so that a copy of it cannot stand for it."""

    not_a_module: str
    """What to say where a metric or a loss uses such a tree as the module it was taken from; empty for most."""

    selections: Mapping[str, Callable[[Any], Any]]
    """Selections of leaves that have a name, such as "dynapse-weights": functions from a model to its prototype."""

    limits: Mapping[str, Callable[[Any], Mapping[str, Range]]]
    """Tables of operating ranges that have a name, such as "dynapse": functions from a model to the range of each leaf
    that the table knows, by path."""

    def recognises(self, model: Any) -> bool:
        """Whether this is the adapter for a model."""
        ...

    def leaves(self, model: Any) -> Leaves:
        """Nominal values of all leaves that may be selected, by path. (A chip frozen into a module is looked through,
        where the module remembers what it was before.)"""
        ...

    def globbed(self, model: Any) -> Collection[str]:
        """The paths among which a path glob selects."""
        ...

    def matches(self, model: Any, rule: Any) -> Collection[str] | None:
        """The paths that a rule of the framework's own selects; None where it is no such rule."""
        ...

    def arrays(self, model: Any) -> Mapping[str, Array]:
        """Where values sit, by path, for the leaves of which the framework's modules say something: the axes that are
        stacks and outputs, and the groups. A leaf that is not among them is one matrix whose last axis is outputs."""
        ...

    def no_products(self, model: Any) -> Collection[str]:
        """The paths of leaves that no matrix product contracts, by what the framework says: biases, scales of norms,
        tables that are looked up by position, time constants."""
        ...

    def inside(self, model: Any, kind: Any) -> Collection[str] | None:
        """The paths of the leaves that are within modules of a class, `nnx.Linear` for example; None where `kind` is no
        class of the framework's modules."""
        ...

    def prototype(self, model: Any, chosen: Mapping[str, bool]) -> Any:
        """The prototype that holds a bool for each path of `leaves`."""
        ...

    def nominal(self, model: Any) -> Any:
        """The tree of nominal values."""
        ...

    def flattened(self, tree: Any) -> tuple[dict[str, Any], "Structure"]:
        """All leaves of a tree by path, also those that cannot deviate, and what takes them back: a tree that shares
        nothing with this one. Values that have two places in the tree are one leaf."""
        ...

    def with_values(self, tree: Any, change: Callable[[Leaves], Leaves]) -> Any:
        """A tree with some values changed; what is not changed is the same object.

        Args:
            tree: a tree (not a model).
            change: a function from values by path to the new values by path.
        """
        ...

    def require_selected(self, tree: Any, paths: Iterable[str]) -> None:
        """Refuse a tree that must be whole and lacks leaves which were selected."""
        ...

    def completed(self, model: Any, params: Any) -> Any:
        """The whole tree of nominal values, for parameters that may be a part of it."""
        ...

    def require_tree(self, tree: Any) -> None:
        """Refuse a model where its tree belongs."""
        ...

    def require_like(self, model: Any, params: Any) -> None:
        """Refuse parameters that are no part of a model, such as a module where its parameters belong."""
        ...

    def frozen(self, model: Any, change: Callable[[Leaves], Leaves]) -> Any:
        """A model with some values changed, which shares nothing that is written with the old one."""
        ...

    def loaded(self, model: Any, values: Mapping[str, Any]) -> Any:
        """A model with other nominal values, by path."""
        ...

    def written_by(self, tree: Any, function: Callable[[Any], Any]) -> tuple[Any, list[str]]:
        """What a function of a tree gives, and the paths of the state that it writes in the tree."""
        ...

    def write(self, tree: Any, values: Mapping[str, Any]) -> None:
        """Write state of a forward pass, by path, in a model whose forward pass writes state; nothing in others."""
        ...

    def never_read(self, path: str) -> bool:
        """Whether a leaf is one that the framework registers but never reads, so that no draw of it reaches a loss."""
        ...

    def lumped(self, model: Any) -> Mapping[str, int]:
        """The leaves that hold one value for several neurons, by path, with the number of neurons."""
        ...

    def unboxed(self, value: Any) -> Any:
        """The array in a framework's own box; anything else as it is."""
        ...
