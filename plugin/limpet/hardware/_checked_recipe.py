"""The recipe that a user means by a hardware or a recipe."""

from typing import Any

from .._checked import shown
from .._errors import LimpetError, PrototypeError
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing, require_there
from ._hardware import Hardware
from ._mismatch import Recipe


def checked_recipe(mismatch: Any, tree: Any) -> Recipe:
    """The recipe that the user means by `mismatch`, of which the tree lacks nothing.

    Args:
        mismatch: a recipe, or a hardware.
        tree: the tree of nominal values.

    Raises:
        LimpetError: `mismatch` is neither.
        PrototypeError: recipe and tree do not fit, or the tree lacks leaves that deviate; or its arrays
            were donated, and are gone.
    """
    if isinstance(mismatch, Hardware):
        mismatch = mismatch.on(tree)
    if not isinstance(mismatch, Recipe):
        of_config = " (of a configuration, config.hardware)" if hasattr(mismatch, "hardware") else ""
        raise LimpetError(
            f"mismatch = {shown(mismatch)}: give the hardware{of_config} or a recipe, hardware.on(model) or "
            f"limpet.Mismatch(prototype, limpet.Gaussian(sigma=0.1)); a prototype alone says which leaves deviate, but "
            f"not how"
        )
    adapter = adapter_of(tree)
    adapter.require_tree(tree)
    leaves = adapter.leaves(tree)
    require_there(leaves)
    missing = [path for path in mismatch.paths if path not in leaves]
    if missing:
        raise PrototypeError(
            f"the tree lacks {listing(missing)}, which deviate on this hardware: measured without them they would "
            f"count as perfect. Hand over the whole tree; with Rockpool, "
            f"limpet.attributes(net.set_attributes(params)). To measure some parts of the hardware alone, use "
            f"mismatch.only(...)"
        )
    return mismatch
