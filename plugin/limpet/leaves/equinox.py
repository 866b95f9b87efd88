"""All that is known of Equinox: which leaves of a module can deviate, and where they sit. It is never imported here."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax

from ..arrays._array import Array
from ._layer_leaf import LayerLeaf, digital, leaves_said
from ._paths import path_of
from .tree import PlainTree


class Equinox(PlainTree):
    """Equinox modules: pytrees, some of whose leaves are functions, texts and plain numbers; see `Adapter`."""

    name = "an Equinox module"

    def recognises(self, model: Any) -> bool:
        return is_module_class(type(model))

    def globbed(self, model: Any) -> Collection[str]:
        return [path for path, leaf in self.leaves(model).items() if hasattr(leaf, "dtype")]

    def layer_leaves(self, model: Any) -> Mapping[str, tuple[LayerLeaf, Array]]:
        return layer_leaves(model)

    def inside(self, model: Any, kind: Any) -> Collection[str] | None:
        if not (isinstance(kind, type) and is_module_class(kind)):
            return None
        return {
            _joined(path, inner)
            for path, module in modules(model)
            if isinstance(module, kind)
            for inner in self.leaves(module)
        }


def is_module_class(kind: type) -> bool:
    """Whether a class is one of Equinox's modules."""
    return any(cls.__module__.partition(".")[0] == "equinox" for cls in kind.__mro__)


def modules(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """A module and all modules within it, by path."""
    yield path, model
    inner = jax.tree_util.tree_leaves_with_path(
        model, is_leaf=lambda node: node is not model and is_module_class(type(node))
    )
    for key_path, node in inner:
        if is_module_class(type(node)):
            yield from modules(node, _joined(path, path_of(key_path)))


def layer_leaves(model: Any) -> dict[str, tuple[LayerLeaf, Array]]:
    """What the classes of layers in a module say of their leaves, by path, and where their values sit."""
    found = {}
    for path, module in modules(model):
        found |= {_joined(path, name): (leaf, array) for name, _, leaf, array in leaves_said(_layer, module)}
    return found


def _layer(module: Any) -> Mapping[str, LayerLeaf]:
    """What the class of a layer says of its leaves, by name; nothing for other modules. Outputs come first."""
    kinds = {cls.__name__ for cls in type(module).__mro__ if cls.__module__.partition(".")[0] == "equinox"}

    def weights(*shape: int, groups: int = 1) -> LayerLeaf:
        return LayerLeaf(shape, outputs=(0,), groups=groups)

    if "Linear" in kinds:
        sizes = (1 if size == "scalar" else size for size in (module.out_features, module.in_features))
        outputs, inputs = sizes
        return {"weight": weights(outputs, inputs), "bias": digital(outputs)}
    if kinds & {"Conv", "ConvTranspose"}:
        inputs, outputs = module.in_channels // module.groups, module.out_channels
        bias = digital(outputs, *(1 for _ in module.kernel_size))
        return {"weight": weights(outputs, inputs, *module.kernel_size, groups=module.groups), "bias": bias}
    if kinds & {"GRUCell", "LSTMCell"}:
        outputs = module.hidden_size * (3 if "GRUCell" in kinds else 4)
        return {
            "weight_ih": weights(outputs, module.input_size),
            "weight_hh": weights(outputs, module.hidden_size),
            "bias": digital(outputs),
            "bias_n": digital(module.hidden_size),
        }
    if "Embedding" in kinds:
        table = (module.num_embeddings, module.embedding_size)
        return {"weight": LayerLeaf(table, outputs=(0,), product=False)}
    if kinds & {"LayerNorm", "RMSNorm"}:
        return dict.fromkeys(("weight", "bias"), digital(*module.shape))
    if "GroupNorm" in kinds:
        return dict.fromkeys(("weight", "bias"), digital(module.channels))
    if "BatchNorm" in kinds:
        return dict.fromkeys(("weight", "bias"), digital(module.input_size))
    if "WeightNorm" in kinds:
        return {"g": digital(*(None for _ in module.g.shape))}
    weight, bias = (getattr(getattr(module, name, None), "shape", ()) for name in ("weight", "bias"))
    if len(weight) > 1 and weight[:1] == bias:  # a layer of the user's own, written as Equinox's are
        return {"weight": weights(*weight), "bias": digital(*bias)}
    return {}


def _joined(path: str, name: str) -> str:
    return "/".join(filter(None, (path, name)))
