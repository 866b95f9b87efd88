"""Leaf paths: the one name by which rules, keys, errors, logs and plots call a leaf of a tree."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import GetAttrKey, KeyPath

from .._checked import listing as listing
from .._errors import PrototypeError
from .._jax import is_traced


def path_of(key_path: KeyPath) -> str:
    """The canonical path string of a JAX key path, such as `1_DynapSim/w_rec` or `Dense_0/kernel`.

    Flax boxes each array of an nnx `State` (and of partitioned Linen parameters) in an object with one attribute
    `value`; the box is not part of the name, so that a rule written for Linen also fits nnx.

    Examples:
        >>> tree = {"head": [1.0, {"bias": 2.0}]}
        >>> [path_of(key_path) for key_path, _ in jax.tree_util.tree_leaves_with_path(tree)]
        ['head/0', 'head/1/bias']
    """
    if len(key_path) > 1 and key_path[-1] == GetAttrKey("value"):
        key_path = key_path[:-1]
    return jax.tree_util.keystr(key_path, simple=True, separator="/")


def leaves_by_path(tree: Any) -> tuple[dict[str, Any], Any]:
    """The leaves of a pytree by canonical path, in flattening order, and the structure that takes them back.

    Raises:
        PrototypeError: two leaves share one path (`{"a/b": ...}` beside `{"a": {"b": ...}}`).

    Examples:
        >>> leaves, structure = leaves_by_path({"b": 1.0, "a": (2.0, None)})
        >>> leaves
        {'a/0': 2.0, 'b': 1.0}
        >>> structure.unflatten(leaves.values())
        {'a': (2.0, None), 'b': 1.0}
    """
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves: dict[str, Any] = {}
    for key_path, leaf in found:
        path = path_of(key_path)
        if path in leaves:
            raise PrototypeError(f"two leaves share the path '{path}': rename one, a path names exactly one leaf")
        leaves[path] = leaf
    return leaves, structure


def is_real(leaf: Any) -> bool:
    """Whether a leaf holds real floating-point numbers: not integers, bools, complex numbers, PRNG keys, functions.

    Examples:
        >>> is_real(1.0), is_real(jax.numpy.ones(2, "bfloat16")), is_real(1), is_real(jax.random.key(0))
        (True, True, False, False)
    """
    dtype = getattr(leaf, "dtype", None)
    return isinstance(leaf, float) if dtype is None else bool(jnp.issubdtype(dtype, jnp.floating))


def require_there(leaves: Mapping[str, Any]) -> None:
    """Refuse arrays that were donated to a compiled function, which has put its results in their place.

    Raises:
        PrototypeError: some were; names them.
    """
    gone = [
        path
        for path, leaf in leaves.items()
        if isinstance(leaf, jax.Array) and not is_traced(leaf) and leaf.is_deleted()
    ]
    if gone:
        raise PrototypeError(
            f"{listing(gone, limit=6)}: was donated to a compiled function (donate_argnums), and is gone; hand "
            f"over what that function returned"
        )


def require_real(selected: dict[str, Any]) -> None:
    """Refuse to deviate leaves that hold no real floating-point numbers (integers, bools, PRNG keys, functions)."""
    wrong = {path: getattr(leaf, "dtype", type(leaf).__name__) for path, leaf in selected.items() if not is_real(leaf)}
    if wrong:
        raise PrototypeError(
            f"selected, but only real floating-point values can deviate: "
            f"{listing(f'{path} ({kind})' for path, kind in wrong.items())}; "
            f"leave them out by rules such as ('{next(iter(wrong))}', False)"
        )
    for path, leaf in selected.items():
        if hasattr(leaf, "dtype") and jnp.finfo(leaf.dtype).bits < 8:
            raise PrototypeError(
                f"leaf '{path}' is of dtype {leaf.dtype}: allowed are floating-point numbers of 8 bits or more; let "
                f"float32 parameters deviate, and convert what results"
            )
