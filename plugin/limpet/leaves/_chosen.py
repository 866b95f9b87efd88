"""Leaves that a user names by globs."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

from .._errors import LimpetError, PrototypeError
from ._paths import listing


def chosen_paths(globs: Any, paths: Collection[str], argument: str) -> list[str]:
    """The paths that any of several globs matches, in the order of the paths.

    Args:
        globs: path globs, as of `limpet.prototype`.
        paths: the paths among which they choose.
        argument: what an error calls the globs.

    Raises:
        LimpetError: `globs` is no list of texts.
        PrototypeError: a glob matches no path.

    Examples:
        >>> chosen_paths(["*/bias"], ["a/bias", "a/kernel", "b/bias"], "trainable")
        ['a/bias', 'b/bias']
    """
    if isinstance(globs, str) or not isinstance(globs, Sequence) or not all(isinstance(glob, str) for glob in globs):
        raise LimpetError(f"{argument} = {globs!r}: give a list of path globs, such as ['*/bias']")
    for glob in globs:
        if not any(fnmatchcase(path, glob) for path in paths):
            raise PrototypeError(f"{argument}: {glob!r} matches no leaf; the paths are: {listing(paths)}")
    return [path for path in paths if any(fnmatchcase(path, glob) for glob in globs)]
