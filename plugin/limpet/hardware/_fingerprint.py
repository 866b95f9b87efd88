"""The fingerprint of hardware on a network.

Two curves were measured on the same virtual chips only if they have the same fingerprint.
"""

import hashlib
import json
from collections.abc import Mapping

from .._errors import StrengthError
from ..deviations._kinds import described, label
from ..leaves._paths import listing
from ._leaf_draw import LeafRule
from ._limits import Limits
from ._mismatch import Recipe

Shapes = Mapping[str, tuple[int, ...]]


def fingerprint(recipe: Recipe, shapes: Shapes) -> str:
    """Sixteen hexadecimal digits that stand for which leaves deviate, their shapes, their deviations and limits.

    A sigma that all leaves share is left out: over sigma, networks of another shared sigma meet the same chips.

    Args:
        recipe: who deviates, and how.
        shapes: of the leaves of the network, by path.
    """
    recipe = _without_shared_sigma(recipe)
    leaves = sorted(
        (
            path,
            list(shapes.get(path, ())),
            described(rule.deviation),
            *(limits.described() for limits in _limits_of(rule)),
        )
        for path, rule in recipe.rules.items()
        if rule is not None
    )
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:16]


def summary(recipe: Recipe, shapes: Shapes) -> str:
    """The same in words: the deviations, and the leaves that each falls on.

    Args:
        recipe: who deviates, and how.
        shapes: of the leaves of the network, by path.
    """
    recipe = _without_shared_sigma(recipe)
    groups: dict[str, list[str]] = {}
    for path, rule in recipe.rules.items():
        if rule is not None:
            words = ", ".join([label(rule.deviation), *(limits.label() for limits in _limits_of(rule))])
            shape = "x".join(map(str, shapes.get(path, ()))) or "scalar"
            groups.setdefault(words, []).append(f"{path} ({shape})")
    return "; ".join(f"{words} on {listing(paths, limit=4)}" for words, paths in groups.items())


def _limits_of(rule: LeafRule) -> list[Limits]:
    """The limits of a leaf, where they change what a chip holds: those that count or refuse leave chips as they are."""
    return [rule.limits] if rule.limits is not None and rule.limits.acts else []


def _without_shared_sigma(recipe: Recipe) -> Recipe:
    if recipe.shared_sigma is None:
        return recipe
    try:
        return recipe.with_sigma(1.0)
    except StrengthError:  # a sigma that follows from other parameters
        return recipe
