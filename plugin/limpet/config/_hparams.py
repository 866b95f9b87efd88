"""The configuration as hyperparameters: one flat row of numbers, bools and strings."""

from collections.abc import Mapping
from typing import Any

from limpet.deviations import described

from ._config import Config
from ._training_section import DynamicSection, FrozenSection

_EXAMPLES = {"dynamic": DynamicSection(), "frozen": FrozenSection(chip=0)}
"""Sections that may be missing; what they hold has columns all the same."""


def hparams_of(config: Config) -> dict[str, bool | int | float | str | None]:
    """The configuration by dotted key; None where it says nothing, so that all runs have the same columns."""
    flat = flattened(config.model_dump(exclude={"tensorboard", "hardware", "training"}))
    for name, part in config.hardware.parts.items():
        flat[f"hardware.{name}.leaves"] = part.leaves_label()
        flat |= flattened({"deviation": described(part.deviation)}, f"hardware.{name}.")
        if part.limits is not None:
            flat |= flattened({"limits": part.limits.described()}, f"hardware.{name}.")
        if part.product is not None:
            flat |= flattened({"product": part.product.described()}, f"hardware.{name}.")
    for name, example in _EXAMPLES.items():
        section = getattr(config.training, name, None)
        values = flattened((section or example).model_dump(), f"training.{name}.")
        flat |= values if section is not None else dict.fromkeys(values)
    flat["training.objective"] = None if config.training is None else config.training.objective.label()
    flat["training.dynamic.parts"] = ", ".join(config.dynamic_parts) or None
    flat["training.frozen.parts"] = ", ".join(config.frozen_parts) or None
    return flat


def flattened(values: Mapping[Any, Any], prefix: str = "") -> dict[str, bool | int | float | str | None]:
    """Nested mappings as one, by dotted key; what is no number, bool or string is written as a string."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, bool | int | float | str | None) else str(value)
    return flat
