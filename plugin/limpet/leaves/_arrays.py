"""Which array each leaf of a model sits on: what the user says, over what the model's framework knows."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from .._checked import refusal
from .._errors import LimpetError, warn_user
from ..arrays._array import UNSAID, Array, Layout
from ._adapters import adapter_of
from ._chosen import chosen_paths
from ._paths import is_real, listing

Arrays = tuple[tuple[str, Array], ...]
"""By path glob, where leaves sit; the last glob that matches a leaf decides."""


def checked_arrays(given: Any, name: str = "array") -> Arrays:
    """Where leaves sit, as a user says it: one `limpet.Array` for all, or a mapping by path glob.

    Args:
        given: what the user gave.
        name: what an error calls it.

    Raises:
        LimpetError: it is neither.
    """
    if isinstance(given, Array):
        # Not by equality: what is said may be what is so where nothing is said, and no framework's default.
        return (("*", given),) if given.described() else ()
    pairs = tuple(given.items()) if isinstance(given, Mapping) else given
    if isinstance(pairs, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], Array)
        for pair in pairs
    ):
        return pairs
    reason = "allowed are limpet.Array(...), and a mapping of path glob to limpet.Array(...)"
    raise refusal(name, given, reason)


def described_arrays(arrays: Arrays) -> dict[str, Any]:
    """Where leaves sit as plain values, as a configuration writes it."""
    described = {glob: array.described() for glob, array in arrays}
    return described["*"] if described.keys() == {"*"} else described


def array_at(path: str, arrays: Mapping[str, Array]) -> Array:
    """The array of one leaf."""
    if path in arrays:
        return arrays[path]
    matching = (array for glob, array in reversed([*arrays.items()]) if fnmatchcase(path, glob))
    return next(matching, UNSAID)


def require_matches(arrays: Arrays, paths: Collection[str]) -> None:
    """Refuse arrays that are said of no leaf, as by a slip in a path.

    Args:
        arrays: what the user says of arrays.
        paths: the paths of a model's leaves.

    Raises:
        LimpetError: names the glob.
    """
    for glob, _ in arrays:
        if glob not in paths and not any(fnmatchcase(path, glob) for path in paths):
            raise LimpetError(f"array is said of {glob!r}, which matches no leaf; the paths are: {listing(paths)}")


def layouts_of_kernels(model: Any, globs: Sequence[str] | None, given: Arrays) -> dict[str, Layout]:
    """Where the kernels among a model's leaves sit, by path: real leaves of two axes or more besides the stack.

    Args:
        model: the parameters, or a module.
        globs: path globs of the leaves to look among; None for all that a product may contract.
        given: what the user says of arrays.

    Raises:
        PrototypeError: a glob matches no leaf.
        LimpetError: a leaf has no such axes.
    """
    adapter = adapter_of(model)
    leaves, apart = adapter.leaves(model), adapter.no_products(model) if globs is None else ()
    chosen = chosen_paths(["*"] if globs is None else globs, leaves, "leaves")
    matrices = [path for path in chosen if is_real(leaves[path]) and np.ndim(leaves[path]) > 1 and path not in apart]
    arrays = arrays_of(model, given, matrices)
    layouts = {path: array.layout(np.shape(leaves[path])) for path, array in arrays.items()}
    kernels = {path: layout for path, layout in layouts.items() if len(layout.shape) - len(layout.stack) > 1}
    _warn_of_other_stacks(model, given, layouts, kernels)
    return kernels


def _warn_of_other_stacks(
    model: Any, given: Arrays, layouts: Mapping[str, Layout], kernels: Mapping[str, Layout]
) -> None:
    """Say which matrices are left out because a stack is said of them that is none of those which the others have: a
    head, as a rule, beside layers.

    Args:
        model: the parameters, or a module.
        given: what the user says of arrays.
        layouts: where leaves of two axes or more sit, by path.
        kernels: those of which a matrix is left besides the stack.
    """
    of_all, stacks = dict(given).get("*"), {layout.stack_shape for layout in kernels.values()}
    others = [path for path in layouts if path not in kernels and layouts[path].stack_shape not in stacks]
    if not (kernels and others):
        return
    unsaid = arrays_of(model, tuple(by for by in given if by[0] != "*"), others)
    others = [
        f"{path} {layouts[path].shape}"
        for path, array in unsaid.items()
        if len(layouts[path].shape) - len(array.stack or ()) > 1
    ]
    if others:
        warn_user(
            f"{listing(others)}: taken for no matrix, and left out, because array says {of_all} of all leaves; where "
            f"there is no such stack, say it by path, such as array={{'layers/*': limpet.Array(...)}}"
        )


def arrays_of(model: Any, given: Arrays, paths: Iterable[str]) -> dict[str, Array]:
    """The array of some leaves of a model by path, with nothing left open.

    Raises:
        LimpetError: an array is said of no leaf, or a leaf has no such axes; names it.
    """
    adapter, said = adapter_of(model), dict(given)
    leaves, known = adapter.leaves(model), adapter.arrays(model)
    found = {}
    require_matches(given, leaves)
    for path in paths:
        try:
            shape = np.shape(leaves[path])
            found[path] = array_at(path, said).over(known.get(path, UNSAID), len(shape)).settled(shape)
        except LimpetError as error:
            raise LimpetError(f"leaf '{path}': {error}") from None
    return found
