"""Selection: which leaves of a tree deviate."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from .._errors import PrototypeError, warn_user
from ._adapters import adapter_of, some_leaves
from ._arrays import Arrays, layouts_of_kernels
from ._paths import leaves_by_path, listing
from ._paths import require_real as require_real
from .tree import shapes_of


def prototype(tree: Any, *rules: Any) -> Any:
    """Select the leaves that deviate, by rules; the last rule that matches a leaf decides, no match means False.

    Args:
        tree: any pytree of arrays (or of `jax.ShapeDtypeStruct`); a Rockpool module, which stands for its attributes
            (`limpet.attributes`); or a Flax nnx module, which stands for its real-valued variables.
        *rules: pairs of a glob over canonical leaf paths and a bool. `*` stands for any run of characters, `/`
            included, `?` for one, `[ab]` for one of several; case matters. In place of a glob there may be a class of
            modules, such as `nnx.Linear` or `eqx.nn.Conv2d`: it selects what products contract in modules of that class
            and in modules within them. Of an nnx module globs select among its `nnx.Param`s, and in place of a glob
            there may be an nnx filter: a type of variable, `nnx.PathContains`, a function of path and variable.

    Returns:
        A tree of Python bools with the structure of `tree` (nested dicts, for a module): True where a leaf deviates.

    Raises:
        PrototypeError: a rule matches no leaf, nothing is selected, or a selected leaf is no real floating-point
            array. The message lists the paths there are.

    Examples:
        >>> import jax.numpy as jnp
        >>> params = {"Dense_0": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones(2)}}
        >>> prototype(params, ("*/kernel", True), ("head/*", False))
        {'Dense_0': {'bias': False, 'kernel': True}, 'head': {'kernel': False}}
    """
    adapter, leaves = adapter_of(tree), some_leaves(tree)
    globbed = adapter.globbed(tree)
    chosen = dict.fromkeys(leaves, False)
    for rule in rules:
        pattern, selected = _checked_rule(rule)
        inside = adapter.inside(tree, pattern)
        if isinstance(pattern, str):
            matches = [path for path in globbed if fnmatchcase(path, pattern)]
        elif inside is not None:
            matches = [path for path in contracted_paths(tree) if path in inside]
        else:
            matches = adapter.matches(tree, pattern)
        if matches is None:
            raise PrototypeError(f"rule {rule!r}: {_RULE}")
        if not matches and inside is not None:
            raise PrototypeError(
                f"rule ({getattr(pattern, '__name__', pattern)}, {selected}): no module of that class has a leaf that "
                f"a product contracts; select its other leaves by path globs, such as '*/scale'"
            )
        if not matches:
            raise PrototypeError(f"rule ({pattern!r}, {selected}) matches no leaf; the paths are: {listing(globbed)}")
        chosen.update(dict.fromkeys(matches, selected))
    require_some(chosen)
    require_real({path: leaves[path] for path, selected in chosen.items() if selected})
    warn_of_lumped(tree, chosen)
    return adapter.prototype(tree, chosen)


def matrices(tree: Any, arrays: Arrays = ()) -> Any:
    """Select what products contract, among the leaves of which globs could select some: what a crossbar holds.

    These are the leaves with two axes or more beside those that are stacks of layers (see `Adapter.arrays`), but for
    those which the framework, or their names, say to be no part of a product (`Adapter.no_products`): biases, scales of
    norms, tables that are looked up.

    Args:
        tree: the model.
        arrays: where leaves sit, as far as the user says it.

    Raises:
        PrototypeError: there is none.
        LimpetError: a leaf does not fit what is said of it.
    """
    adapter, leaves = adapter_of(tree), some_leaves(tree)
    contracted = contracted_paths(tree, arrays)
    if not contracted:
        raise PrototypeError(
            f"'matrices' selects what products contract, leaves with two axes or more beside stacks of layers, and no "
            f"biases, norms, embeddings or positions; there is none. Give path globs instead; the paths are: "
            f"{listing(f'{path} {shape}' for path, shape in shapes_of(leaves).items())}"
        )
    return adapter.prototype(tree, {path: path in contracted for path in leaves})


def contracted_paths(tree: Any, arrays: Arrays = ()) -> list[str]:
    """The paths that `matrices` selects."""
    candidates = set(adapter_of(tree).globbed(tree))
    return [path for path in layouts_of_kernels(tree, None, arrays) if path in candidates]


def warn_of_lumped(tree: Any, chosen: Mapping[str, bool]) -> None:
    """Say which leaves hold one value for a layer, which deviates as one device does, so that its neurons do alike.

    Args:
        tree: the model.
        chosen: whether each leaf is selected, by path.
    """
    lumped = {path: neurons for path, neurons in adapter_of(tree).lumped(tree).items() if chosen.get(path)}
    if lumped:
        path, neurons = next(iter(lumped.items()))
        warn_user(
            f"{listing(f'{path} (one value for {neurons} neurons)' for path, neurons in lumped.items())}: all neurons "
            f"of such a layer deviate alike; build it with a value for each, such as "
            f"{path.rpartition('/')[2]}=jnp.full({neurons}, value)"
        )


def selection(prototype: Any) -> dict[str, bool]:
    """A prototype's bools by leaf path.

    Raises:
        PrototypeError: a leaf is no Python bool, or nothing is selected.
    """
    leaves, _ = leaves_by_path(prototype)
    for path, chosen in leaves.items():
        if not isinstance(chosen, bool | np.bool_):
            raise PrototypeError(
                f"prototype leaf '{path}' is {chosen!r}: a prototype holds Python bools, True where a leaf deviates; "
                f"build one with limpet.prototype(tree, ('*/kernel', True))"
            )
    require_some(leaves)
    return {path: bool(chosen) for path, chosen in leaves.items()}


def require_some(selected: dict[str, bool]) -> None:
    """Refuse an empty selection: training would go on without mismatch, silently."""
    if not any(selected.values()):
        raise PrototypeError(f"nothing is selected, so nothing would deviate; the paths are: {listing(selected)}")


def _checked_rule(rule: Any) -> tuple[Any, bool]:
    match rule:
        case (pattern, bool() as chosen):
            return pattern, chosen
    raise PrototypeError(f"rule {rule!r}: {_RULE}")


_RULE = "a rule is a pair of a path glob and a bool, such as ('*/kernel', True)"
