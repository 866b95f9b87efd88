"""Plain trees: any pytree of arrays, Flax Linen's variables among them."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from .._errors import LimpetError
from ..arrays._array import Array
from ._adapter import Leaves, Range, Structure
from ._paths import leaves_by_path


class PlainTree:
    """Any pytree; see `Adapter`, of which this is the simplest. The others derive from it."""

    name = "a tree of arrays"
    stateful = False
    not_a_module = ""
    selections: Mapping[str, Callable[[Any], Any]] = {}
    limits: Mapping[str, Callable[[Any], Mapping[str, Range]]] = {}

    def recognises(self, model: Any) -> bool:
        return True

    def leaves(self, model: Any) -> Leaves:
        return leaves_by_path(model)[0]

    def globbed(self, model: Any) -> Collection[str]:
        return self.leaves(model)

    def matches(self, model: Any, rule: Any) -> Collection[str] | None:
        return None

    def arrays(self, model: Any) -> Mapping[str, Array]:
        return {}

    def no_products(self, model: Any) -> Collection[str]:
        return ()

    def prototype(self, model: Any, chosen: Mapping[str, bool]) -> Any:
        return leaves_by_path(model)[1].unflatten(chosen.values())

    def nominal(self, model: Any) -> Any:
        return model

    def flattened(self, tree: Any) -> tuple[dict[str, Any], Structure]:
        return leaves_by_path(tree)

    def with_values(self, tree: Any, change: Callable[[Leaves], Leaves]) -> Any:
        leaves, structure = leaves_by_path(tree)
        changed = change(leaves)
        return structure.unflatten(changed[path] for path in leaves)

    def require_selected(self, tree: Any, paths: Iterable[str]) -> None:
        pass  # a part of a tree may be drawn

    def completed(self, model: Any, params: Any) -> Any:
        return params

    def require_tree(self, tree: Any) -> None:
        if "" in leaves_by_path(tree)[0]:  # "" is the path of what is no tree
            raise LimpetError(
                f"got {type(tree).__name__}, which is no tree of arrays: give the parameters, such as a Linen module's "
                f"variables = model.init(key, example)"
            )

    def require_like(self, model: Any, params: Any) -> None:
        self.require_tree(params)

    def frozen(self, model: Any, change: Callable[[Leaves], Leaves]) -> Any:
        return self.with_values(model, change)

    def loaded(self, model: Any, values: Mapping[str, Any]) -> Any:
        return self.with_values(model, lambda leaves: leaves | dict(values))

    def written_by(self, tree: Any, function: Callable[[Any], Any]) -> tuple[Any, list[str]]:
        return function(tree), []

    def write(self, tree: Any, values: Mapping[str, Any]) -> None:
        pass

    def never_read(self, path: str) -> bool:
        return False

    def lumped(self, model: Any) -> Mapping[str, int]:
        return {}

    def unboxed(self, value: Any) -> Any:
        return value


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Values by leaf path as nested dicts, whose leaf paths these are."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree
