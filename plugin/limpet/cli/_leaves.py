"""Which leaves of a network are hardware, and what training does with them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from limpet import layout
from limpet.deviations import label, sigma_of
from limpet.leaves import adapter_of, is_real

from ..config._config import Config


@dataclass(frozen=True)
class LeafOverview:
    """One leaf, and what the configuration says of it.

    Attributes:
        path: the path of the leaf, such as dense/kernel.
        shape: the shape of the array; None for what is no array.
        dtype: the dtype of the array; the type's name for what is none.
        part: the part of the hardware that the leaf belongs to; None for a leaf that does not deviate.
        deviation: the deviation in words; None for a leaf that does not deviate.
        product: what its arrays compute of their inputs, in words; None where that is x @ w itself.
        sigma: the relative standard deviation at scale 1; None where there is none.
        training: what training meets: "dynamic", "fresh chip", "chip 3", or "nominal".
        unread: whether the framework registers the leaf, but never reads it.
        arrays: the arrays that the leaf sits on, in words, as the hardware or the framework says; None for a leaf that
            does not deviate.
        used: the arrays that a function makes of the leaf, in words, or what else it does with it; None where no
            function was looked at, or it does nothing with it.
    """

    path: str
    shape: tuple[int, ...] | None
    dtype: str
    part: str | None
    deviation: str | None
    product: str | None
    sigma: float | None
    training: str
    unread: bool
    arrays: str | None
    used: str | None


def leaf_overviews(config: Config, model: Any, use: tuple[Callable[..., Any], Any] | None = None) -> list[LeafOverview]:
    """Every leaf of a model, in flattening order.

    Args:
        config: the configuration that says what deviates and what training redraws.
        model: the network or tree of arrays, with nominal values.
        use: a metric and its batch, by which it is seen what is done with leaves; None for none.

    Raises:
        PrototypeError: the hardware does not fit the model.
    """
    recipe, adapter = config.recipe(model), adapter_of(model)
    part_of = {path: (name, part.rules[path]) for name, part in recipe.parts.items() for path in part.paths}
    seen = {} if use is None else {leaf.path: leaf for leaf in layout(use[0], model, use[1]).leaves}
    rows = []
    for path, leaf in adapter.leaves(model).items():
        name, rule = part_of.get(path, (None, None))
        shape, used = np.shape(leaf) if is_real(leaf) else None, seen.get(path)
        rows.append(
            LeafOverview(
                path,
                tuple(leaf.shape) if hasattr(leaf, "shape") else None,
                str(leaf.dtype) if hasattr(leaf, "dtype") else type(leaf).__name__,
                name,
                None if rule is None else label(rule.deviation),
                None if rule is None or rule.product is None else rule.product.label(),
                None if rule is None else sigma_of(rule.deviation),
                met_in_training(config, name),
                adapter.never_read(path),
                None if rule is None or shape is None else str(rule.array.layout(shape)),
                None if used is None else ", ".join([*([str(used.seen)] if used.seen else []), *used.otherwise]),
            )
        )
    return rows


def met_in_training(config: Config, part: str | None) -> str:
    """What training meets of a part: a few words."""
    if part in config.dynamic_parts:
        return "dynamic"
    if part in config.frozen_parts:
        return "fresh chip" if config.training_chip is None else f"chip {config.training_chip[1]}"
    return "nominal"
