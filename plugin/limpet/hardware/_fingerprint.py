"""The fingerprint of hardware on a network, by which curves of the same virtual chips are known."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .._errors import StrengthError
from ..analog._product import Product
from ..arrays._array import UNSAID
from ..deviations._kinds import described, label
from ..leaves._adapters import adapter_of
from ..leaves._paths import is_real, listing
from ._hardware import Hardware
from ._leaf_draw import LeafRule
from ._limits import Limits
from ._mismatch import Recipe

Shapes = Mapping[str, tuple[int, ...]]


def fingerprint(mismatch: Recipe | Hardware, model: Any) -> str:
    """The fingerprint of hardware on a model, as curves, events and checkpoints record it.

    Two curves were measured on the same virtual chips only if they have the same fingerprint, seed and generator.

    Args:
        mismatch: the hardware, or a recipe.
        model: what it is laid over: a Rockpool JAX module, a Flax nnx module, or a tree.

    Returns:
        Sixteen hexadecimal digits.

    Raises:
        PrototypeError: hardware and model do not fit.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
        >>> len(limpet.fingerprint(hardware, {"w": jnp.ones(3)}))
        16
    """
    recipe = mismatch.on(model) if isinstance(mismatch, Hardware) else mismatch
    return digest(recipe, shapes_of(adapter_of(model).nominal(model)))


def shapes_of(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each leaf of real numbers by path."""
    return {path: tuple(np.shape(leaf)) for path, leaf in adapter_of(tree).leaves(tree).items() if is_real(leaf)}


def digest(recipe: Recipe, shapes: Shapes) -> str:
    """Sixteen hexadecimal digits that stand for which leaves deviate, their shapes, their deviations, limits and
    products.

    A sigma that all leaves share is left out: over sigma, networks of another shared sigma meet the same chips.

    Args:
        recipe: who deviates, and how.
        shapes: the shapes of the network's leaves, by path.
    """
    recipe = _without_shared_sigma(recipe)
    leaves = sorted(
        (
            path,
            list(shapes.get(path, ())),
            described(rule.deviation),
            *(limits.described() for limits in _limits_of(rule)),
            *_arranged(rule, shapes.get(path)),
            *({"product": replace(product, backward="exact").described()} for product in _product_of(rule)),
            *([] if rule.ranges is None else [{"ranges": rule.ranges}]),
        )
        for path, rule in recipe.rules.items()
        if rule is not None
    )
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:16]


def summary(recipe: Recipe, shapes: Shapes) -> str:
    """The same in words: deviations, limits and products, and the leaves that each falls on.

    Args:
        recipe: who deviates, and how.
        shapes: the shapes of the network's leaves, by path.
    """
    recipe = _without_shared_sigma(recipe)
    groups: dict[str, list[str]] = {}
    for path, rule in recipe.rules.items():
        if rule is not None:
            words = ", ".join(
                [
                    label(rule.deviation),
                    *(held.label() for held in (*_limits_of(rule), *_product_of(rule))),
                    *([] if rule.ranges is None else ["ranges of its own"]),
                ]
            )
            shape = "x".join(map(str, shapes.get(path, ()))) or "scalar"
            groups.setdefault(words, []).append(f"{path} ({shape})")
    return "; ".join(f"{words} on {listing(paths, limit=4)}" for words, paths in groups.items())


def _arranged(rule: LeafRule, shape: tuple[int, ...] | None) -> list[str]:
    """Where the values of a leaf sit, where what a chip holds depends on it, and it is not one array."""
    if shape is None or not rule.arranged:
        return []
    here, alone = (
        f"{layout} {layout.stack} {layout.outputs}" for layout in (rule.array.layout(shape), UNSAID.layout(shape))
    )
    return [] if here == alone else [here]


def _limits_of(rule: LeafRule) -> list[Limits]:
    """The limits of a leaf, where they change what a chip holds: those that count or refuse leave chips as they are."""
    return [rule.limits] if rule.limits is not None and rule.limits.acts else []


def _product_of(rule: LeafRule) -> list[Product]:
    """The product of a leaf, where it is another than the exact one."""
    return [] if rule.product is None or rule.product.ideal else [rule.product]


def _without_shared_sigma(recipe: Recipe) -> Recipe:
    if recipe.shared_sigma is None:
        return recipe
    try:
        return recipe.with_sigma(1.0)
    except StrengthError:  # a sigma that follows from other parameters
        return recipe
