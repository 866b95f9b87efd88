"""The configuration as hyperparameters: one flat row of numbers, bools and strings."""

from collections.abc import Mapping
from typing import Any

from ._config import Config, DynamicSection, FrozenSection

_OPTIONAL = {"dynamic": DynamicSection(), "frozen": FrozenSection(chip=0)}


def hparams_of(config: Config) -> dict[str, bool | int | float | str | None]:
    """The configuration by dotted key; None where it says nothing, so that all runs have the same columns."""
    flat = flattened(config.model_dump(exclude={"tensorboard"}))
    for name, example in _OPTIONAL.items():
        if getattr(config.training, name, None) is None:
            flat.pop(f"training.{name}", None)
            flat |= dict.fromkeys(flattened(example.model_dump(), f"training.{name}."))
    flat.pop("training", None)
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
