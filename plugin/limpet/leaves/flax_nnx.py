"""All that is known of Flax nnx: a module's variables by leaf path, and a module that shares all but some of them.

Flax is never imported here: modules are recognised only where the user has imported it.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from .._errors import LimpetError, PrototypeError
from ..arrays._array import Array
from ._adapter import Leaves, Structure
from ._layer_leaf import LayerLeaf, digital, leaves_said
from ._paths import is_real, leaves_by_path, listing
from .tree import PlainTree, nested


class FlaxNnx(PlainTree):
    """Flax nnx modules; see `Adapter`."""

    name = "a Flax nnx module"
    stateful = True

    def recognises(self, model: Any) -> bool:
        return is_module(model)

    def leaves(self, model: Any) -> Leaves:
        return {path: variable.get_value() for path, variable in variables(model).items()}

    def globbed(self, model: Any) -> Collection[str]:
        chosen = parameters(model)
        return [path for path in variables(model) if path in chosen]

    def layer_leaves(self, model: Any) -> Mapping[str, tuple[LayerLeaf, Array]]:
        return layer_leaves(model)

    def inside(self, model: Any, kind: Any) -> Collection[str] | None:
        return inside(model, kind) if is_module_class(kind) else None

    def matches(self, model: Any, rule: Any) -> Collection[str] | None:
        return matches(model, rule) if is_filter(rule) else None

    def prototype(self, model: Any, chosen: Mapping[str, bool]) -> Any:
        return nested(chosen)

    def flattened(self, tree: Any) -> tuple[dict[str, Any], Structure]:
        graph, state = sys.modules["flax.nnx"].split(tree)  # which knows variables that have two places
        leaves, structure = leaves_by_path(state)
        return leaves, ModuleStructure(graph, structure)

    def with_values(self, tree: Any, change: Callable[[Leaves], Leaves]) -> Any:
        return with_values(tree, change)

    def require_selected(self, tree: Any, paths: Iterable[str]) -> None:
        """Refuse a module that lacks leaves which were selected when the prototype was built.

        Raises:
            PrototypeError: names the leaves.
        """
        held = variables(tree)
        if missing := [path for path in paths if path not in held]:
            raise PrototypeError(
                f"the module has no {listing(missing)}, which was selected: its structure has changed since the "
                f"prototype was built; build the recipe or the callback again"
            )

    def require_tree(self, tree: Any) -> None:
        pass  # a module is one

    def require_like(self, model: Any, params: Any) -> None:
        if not is_module(params):
            raise LimpetError(
                f"got {type(params).__name__}, but an nnx module is needed, as this was built from one: hand over the "
                f"module itself, not nnx.state(model) or nnx.split(model)"
            )

    def frozen(self, model: Any, change: Callable[[Leaves], Leaves]) -> Any:
        return with_values(sys.modules["flax.nnx"].clone(model), change)

    def loaded(self, model: Any, values: Mapping[str, Any]) -> Any:
        return self.frozen(model, lambda leaves: leaves | {path: jnp.asarray(value) for path, value in values.items()})

    def written_by(self, tree: Any, function: Callable[[Any], Any]) -> tuple[Any, list[str]]:
        before = {path: variable.get_value() for path, variable in _named(tree)}
        result = function(tree)
        written = {path: variable for path, variable in _named(tree) if variable.get_value() is not before.get(path)}
        # A forward pass writes no parameters. Where they are new as well, the function is compiled by nnx.jit, which
        # hands back every variable, so that nothing is known of what was written.
        if any(isinstance(variable, sys.modules["flax.nnx"].Param) for variable in written.values()):
            return result, []
        return result, list(written)

    def write(self, tree: Any, values: Mapping[str, Any]) -> None:
        for path, variable in _named(tree):
            if path in values:
                variable.set_value(values[path])

    def unboxed(self, value: Any) -> Any:
        return value.get_value() if "flax.nnx" in sys.modules and isinstance(value, _variable()) else value


@dataclass(frozen=True)
class ModuleStructure:
    """What a module is without its leaves.

    Attributes:
        graph: what `nnx.split` gives beside the state.
        state: the state's structure as a tree.
    """

    graph: Any
    state: Any

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        return sys.modules["flax.nnx"].merge(self.graph, self.state.unflatten(leaves))


class FlaxNnxState(PlainTree):
    """States of Flax nnx modules: trees like others, for a metric that merges them into a module itself."""

    name = "an nnx.State"
    not_a_module = (
        "it was given an nnx.State, which is not a module: hand over the module itself, not nnx.state(model), or merge "
        "it in the function, nnx.merge(graph, state)"
    )

    def recognises(self, model: Any) -> bool:
        return "flax.nnx" in sys.modules and isinstance(model, sys.modules["flax.nnx"].State)


def is_module(value: Any) -> bool:
    """Whether a value is an nnx module."""
    return "flax.nnx" in sys.modules and isinstance(value, sys.modules["flax.nnx"].Module)


def is_module_class(kind: Any) -> bool:
    """Whether a value is a class of nnx modules."""
    return "flax.nnx" in sys.modules and isinstance(kind, type) and issubclass(kind, sys.modules["flax.nnx"].Module)


def inside(module: Any, kind: type) -> set[str]:
    """The paths of the real-valued variables that modules of a class hold, themselves or in modules within them."""
    nodes = list(sys.modules["flax.nnx"].iter_graph(module))
    paths = {id(node): "/".join(map(str, path)) for path, node in nodes if isinstance(node, _variable())}
    held = {
        paths[id(inner)]
        for _, node in nodes
        if isinstance(node, kind)
        for _, inner in sys.modules["flax.nnx"].iter_graph(node)
        if id(inner) in paths
    }
    return held & variables(module).keys()


def layer_leaves(module: Any) -> dict[str, tuple[LayerLeaf, Array]]:
    """What the classes of layers in a module say of their variables, by path, and where their values sit."""
    nodes = list(sys.modules["flax.nnx"].iter_graph(module))
    paths = {id(node): "/".join(map(str, path)) for path, node in nodes if isinstance(node, _variable())}
    found: dict[str, tuple[LayerLeaf, Array]] = {}
    for _, node in nodes:
        if not is_module(node):
            continue
        for _, variable, leaf, array in leaves_said(_layer, node):
            # What two layers share, such as a tied embedding, belongs to the one that contracts it.
            if (path := paths.get(id(variable))) is not None and (leaf.product or path not in found):
                found[path] = leaf, array
    return found


def _layer(module: Any) -> Mapping[str, LayerLeaf]:
    """What the class of a layer says of its variables, by name; nothing for other modules."""
    nnx = sys.modules["flax.nnx"]
    match module:
        case nnx.Linear():
            kernel = LayerLeaf((module.in_features, module.out_features))
            return {"kernel": kernel, "bias": digital(module.out_features)}
        case nnx.LinearGeneral():
            batch = tuple(module.batch_axis.values())
            inputs, outputs = (*batch, *module.in_features), tuple(module.out_features)
            stack = tuple(range(len(batch)))
            return {
                "kernel": LayerLeaf((*inputs, *outputs), _following(inputs, outputs), stack),
                "bias": LayerLeaf((*batch, *outputs), _following(batch, outputs), stack, product=False),
            }
        case nnx.Einsum():
            outputs, stack = einsum_axes(module.einsum_str, len(module.kernel_shape))
            bias = {} if module.bias_shape is None else {"bias": digital(*module.bias_shape)}
            return {"kernel": LayerLeaf(tuple(module.kernel_shape), outputs, stack), **bias}
        case nnx.Conv():
            kernel = LayerLeaf(tuple(module.kernel_shape), groups=module.feature_group_count)
            return {"kernel": kernel, "bias": digital(module.out_features)}
        case nnx.ConvTranspose():
            kernel = LayerLeaf(tuple(module.kernel_shape), outputs=(-2,) if module.transpose_kernel else (-1,))
            return {"kernel": kernel, "bias": digital(module.out_features)}
        case nnx.LoRA():
            rank = module.lora_a.get_value().shape[-1]
            return {
                "lora_a": LayerLeaf((module.in_features, rank)),
                "lora_b": LayerLeaf((rank, module.out_features)),
            }
        case nnx.Embed():  # its table is looked up; where `attend` contracts it, each row is an output
            table = (module.num_embeddings, module.features)
            return {"embedding": LayerLeaf(table, outputs=(0,), product=False)}
        case nnx.GroupNorm():
            return dict.fromkeys(("scale", "bias"), digital(module.num_groups * module.group_size))
        case nnx.BatchNorm() | nnx.LayerNorm() | nnx.RMSNorm() | nnx.InstanceNorm():
            return dict.fromkeys(("scale", "bias", "mean", "var"), digital(module.num_features))
    return {}


def _following(first: Sequence[Any], then: Sequence[Any]) -> tuple[int, ...]:
    """The axes of the second of two groups of axes."""
    return tuple(range(len(first), len(first) + len(then)))


def einsum_axes(equation: str, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which axes of a kernel are outputs and which count separate matrices, by an equation of inputs and kernel.

    An axis that is in the inputs too and is kept counts matrices, as in a batched product; one that is kept and is not
    in the inputs is an output; all others are summed, and so are inputs.

    Args:
        equation: the equation, whose second operand is the kernel.
        ndim: the number of axes of the kernel.

    Examples:
        >>> einsum_axes("nta,hab->nthb", 3), einsum_axes("bha,hac->bhc", 3)
        (((0, 2), ()), ((2,), (0,)))
    """
    operands, result = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    if "..." in kernel:  # axes without a letter, which the inputs have too where they have some
        kernel = kernel.replace("...", "." * (ndim - len(kernel.replace("...", ""))))
    kept = [axis for axis, letter in enumerate(kernel) if letter in result]
    shared = [axis for axis in kept if kernel[axis] in inputs]
    return tuple(axis for axis in kept if axis not in shared), tuple(shared)


def is_filter(rule: Any) -> bool:
    """Whether the first half of a rule is an nnx filter: a type of variable, or a function of path and variable."""
    return "flax.nnx" in sys.modules and not isinstance(rule, str) and (isinstance(rule, type) or callable(rule))


def variables(module: Any) -> dict[str, Any]:
    """The variables of a module that hold real numbers (parameters, batch statistics, ...), by leaf path."""
    found = {"/".join(map(str, path)): variable for path, variable in _flat(module)}
    return {path: variable for path, variable in found.items() if is_real(variable.get_value())}


def parameters(module: Any) -> set[str]:
    """The paths of the module's `nnx.Param`s."""
    param = sys.modules["flax.nnx"].Param
    return {path for path, variable in variables(module).items() if isinstance(variable, param)}


def matches(module: Any, rule: Any) -> set[str]:
    """The paths of the real-valued variables that an nnx filter selects."""
    chosen = sys.modules["flax.nnx"].filterlib.to_predicate(rule)
    here = variables(module)
    paths = {"/".join(map(str, path)): path for path, _ in _flat(module)}
    return {path for path, variable in here.items() if chosen(paths[path], variable)}


def with_values(module: Any, change: Callable[[Leaves], Leaves]) -> Any:
    """The same module with some values changed, sharing every other variable with it.

    What a forward pass of the new module writes (batch statistics, random counters) is therefore written to the
    variables of the old one, while gradients reach the old one's values through `change`.

    Args:
        module: an nnx module.
        change: a function from values by leaf path to the new values by leaf path; those it hands back unchanged stay
            shared.

    Raises:
        LimpetError: the module was captured by a transformed function instead of being passed to it.
    """
    nnx = sys.modules["flax.nnx"]
    _require_passed(module)
    old = {path: variable.get_value() for path, variable in variables(module).items()}
    changed = {path: value for path, value in change(dict(old)).items() if value is not old[path]}
    graph, state = nnx.split(module)
    flat = {
        path: variable.replace(changed[name]) if (name := "/".join(map(str, path))) in changed else variable
        for path, variable in nnx.to_flat_state(state)
    }
    return nnx.merge(graph, nnx.from_flat_state(flat))


def _variable() -> type:
    return sys.modules["flax.nnx"].Variable


def _named(module: Any) -> list[tuple[str, Any]]:
    """The module's own variables (not copies of them) with their paths."""
    nnx = sys.modules["flax.nnx"]
    return [("/".join(map(str, path)), node) for path, node in nnx.iter_graph(module) if isinstance(node, _variable())]


def _flat(module: Any) -> list[tuple[tuple[Any, ...], Any]]:
    nnx = sys.modules["flax.nnx"]
    return list(nnx.to_flat_state(nnx.state(module)))


def _require_passed(module: Any) -> None:
    """Refuse a module captured by a transformed function: what a forward pass writes would leak out of it."""
    param = sys.modules["flax.nnx"].Param
    captured = []
    for path, variable in _flat(module):
        if isinstance(variable, param):
            continue
        try:
            variable.set_value(variable.get_value())  # nnx refuses, where it would refuse the forward pass
        except sys.modules["flax.errors"].TraceContextError:
            captured.append("/".join(map(str, path)))
    if captured:
        raise LimpetError(
            f"the nnx module was captured by a transformed function, out of which its state ({listing(captured)}) "
            f"would leak: pass the module as an argument of nnx.jit, nnx.value_and_grad, ..., not by closure"
        )
