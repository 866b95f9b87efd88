"""All that is known of Flax nnx: a module's variables by leaf path, and a module that shares all but some of them.

Flax is never imported here: modules are recognised only where the user has imported it.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from .._errors import LimpetError, PrototypeError
from ._adapter import Leaves, Structure
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
