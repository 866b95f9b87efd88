"""Plain trees: any pytree of arrays, Flax Linen's variables among them."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import jax

from .._errors import LimpetError
from ..arrays._array import Array
from ._adapter import Leaves, Range, Structure
from ._layer_leaf import LayerLeaf
from ._names import arrays_by_name, digital_by_name
from ._paths import is_real, leaves_by_path, path_of


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
        # What no layer's class says of a leaf, its name may tell.
        said = {path: array for path, (_, array) in self.layer_leaves(model).items()}
        real = {path: leaf for path, leaf in self.leaves(model).items() if is_real(leaf)}
        return arrays_by_name(shapes_of(real), axis_names(model), said)

    def no_products(self, model: Any) -> Collection[str]:
        said = self.layer_leaves(model)
        digital = {path for path, (leaf, _) in said.items() if not leaf.product}
        shapes = shapes_of(self.leaves(model))
        return digital.union(digital_by_name({path: shape for path, shape in shapes.items() if path not in said}))

    def layer_leaves(self, model: Any) -> Mapping[str, tuple[LayerLeaf, Array]]:
        """What the classes of layers say of their leaves, by path, and where the values of these sit."""
        return {}

    def inside(self, model: Any, kind: Any) -> Collection[str] | None:
        return None

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


def shapes_of(leaves: Leaves) -> dict[str, tuple[int, ...]]:
    """The shapes of leaves, by path; of what is no array, ()."""
    return {path: tuple(getattr(leaf, "shape", ())) for path, leaf in leaves.items()}


def axis_names(tree: Any) -> dict[str, tuple[Any, ...]]:
    """The names of axes, by path, for the leaves in a box that has some, such as Linen's `nn.Partitioned`."""

    def is_box(value: Any) -> bool:
        return hasattr(value, "unbox") and isinstance(getattr(value, "names", None), tuple)

    found = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_box)
    return {path_of(key_path): box.names for key_path, box in found if is_box(box)}


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
