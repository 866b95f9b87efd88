"""What chips are given anew: which leaves, which gains, and between which values."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checked import shown
from .._errors import LimpetError, PrototypeError
from ..leaves._adapters import adapter_of
from ..leaves._arrays import Arrays, arrays_of
from ..leaves._chosen import chosen_paths
from ..leaves._paths import is_real, listing
from ._chip_fit import ChipFit, ChipValues, Procedure


def chip_fit(fit: Procedure, values: ChipValues, tree: Any, arrays: Arrays = ()) -> ChipFit:
    """How each chip is fitted, for one network.

    Args:
        fit: the way in which chips are fitted.
        values: the values that a chip makes of nominal ones.
        tree: the network.
        arrays: the arrays that leaves sit on, by path, where hardware says them.

    Raises:
        LimpetError: the fit is none, or its levels are none.
        PrototypeError: a glob matches no leaf, or one that cannot be given anew.
    """
    given = trainable_paths(tree, fit.trainable)
    return ChipFit(fit, values, tuple(given), gained(tree, fit.gains, arrays), levels_of(given, fit.levels, values))


def checked_fit(fit: Any) -> Procedure:
    """A fit.

    Raises:
        LimpetError: it is none.
    """
    if not callable(getattr(fit, "step", None)) or not callable(getattr(fit, "initial", None)):
        raise LimpetError(
            f"fit = {shown(fit)}: give limpet.GradientFit(loss_fn, batches) or limpet.StatisticsFit(update_fn, batches)"
        )
    return fit


def trainable_paths(tree: Any, globs: Any) -> list[str]:
    """The paths of the leaves that chips are given anew.

    Raises:
        PrototypeError: a glob matches no leaf, or one that holds no real numbers.
    """
    leaves = adapter_of(tree).leaves(tree)
    paths = chosen_paths(globs, list(leaves), "trainable")
    if wrong := [path for path in paths if not is_real(leaves[path])]:
        raise PrototypeError(f"trainable: {listing(wrong)} hold no real numbers, so that they cannot be fitted")
    return paths


def gained(tree: Any, globs: Any, arrays: Arrays) -> dict[str, tuple[int, ...]]:
    """The axes that count inputs, along which an output's gain is the same, by path of each leaf whose outputs get one.

    Raises:
        PrototypeError: a glob matches no leaf, or one that has no inputs.
    """
    leaves = adapter_of(tree).leaves(tree)
    paths = chosen_paths(globs, list(leaves), "gains")
    found = {
        path: array.layout(np.shape(leaves[path])).inputs for path, array in arrays_of(tree, arrays, paths).items()
    }
    if wrong := [path for path, inputs in found.items() if not is_real(leaves[path]) or not inputs]:
        raise PrototypeError(
            f"gains: {listing(wrong)} are no weights of two axes or more, so that there are no outputs to scale"
        )
    return found


def levels_of(given: Sequence[str], levels: Any, chips: ChipValues) -> dict[str, tuple[float, ...]]:
    """The values between which chips choose, by path of a leaf that they are given anew: those within its limits.

    Raises:
        LimpetError: they are no mapping of globs to two finite numbers or more, or fewer lie within the limits.
        PrototypeError: a glob matches none of the leaves that chips are given anew.
    """
    if levels is None:
        return {}
    if not isinstance(levels, Mapping):
        raise LimpetError(
            f"levels = {shown(levels)}: give a mapping from path globs to values, {{'*/bias': [-1, 0, 1]}}"
        )
    of: dict[str, tuple[float, ...]] = {}
    for glob, values in levels.items():
        known = np.unique(np.asarray(values, float))
        if len(known) < 2 or not np.isfinite(known).all():
            raise LimpetError(f"levels: {glob!r}: give two finite values or more, between which a chip chooses")
        for path in chosen_paths([glob], given, "levels"):
            within = known[np.asarray(chips.limited(path, jnp.asarray(known)) == jnp.asarray(known))]
            if len(within) < 2:
                raise LimpetError(f"levels: {glob!r}: {len(within)} of them lie within the limits of leaf '{path}'")
            of[path] = tuple(within.tolist())
    return of
