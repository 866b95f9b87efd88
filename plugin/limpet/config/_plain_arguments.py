"""A configuration without a file: a hardware, and plain arguments beside it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from .._errors import ConfigError
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ._config import Config
from ._load_config import problems_of
from ._robustness_section import RobustnessSection
from ._tensorboard_section import TensorboardSection

_SECTION_OF = {
    **dict.fromkeys(RobustnessSection.model_fields.keys() - {"seed"}, "robustness"),
    **dict.fromkeys(TensorboardSection.model_fields, "tensorboard"),
}
"""The section of the configuration to which a plain argument belongs."""


def checked_config(config: Any, plain: Mapping[str, Any]) -> Config:
    """The configuration that a callback is given, in whichever form.

    Args:
        config: a configuration, a hardware or a recipe.
        plain: beside a hardware or a recipe, what the configuration would say: whole sections by name, or keys of
            `robustness` and `tensorboard` by theirs.

    Raises:
        ConfigError: it is none of these, does not say what training redraws, or something in it does not hold.
    """
    if isinstance(config, Config):
        if plain:
            raise ConfigError(
                f"{', '.join(plain)}: stands in the configuration already; override it there, "
                f"limpet.load_config(path, 'seed=1')"
            )
        if config.training is None:
            raise ConfigError(
                "training: is missing, so that nothing says what training redraws; give training: {dynamic: {}} to "
                "draw all parts at every step, or training: {} to train without mismatch"
            )
        return config
    if not isinstance(config, Hardware | Recipe):
        raise ConfigError(
            f"config = {config!r}: give what limpet.load_config returns, or a limpet.Hardware or a recipe, with "
            f"plain arguments such as logdir=, scales= and chips= beside it"
        )
    sections: dict[str, Any] = {"training": {"dynamic": {}}}
    for name, value in plain.items():
        if name not in _SECTION_OF:
            sections[name] = value
    for name, value in plain.items():
        if name in _SECTION_OF:
            section = sections.setdefault(_SECTION_OF[name], {})
            if not isinstance(section, Mapping) or name in section:
                raise ConfigError(f"{name}: stands in {_SECTION_OF[name]}= as well; give it once")
            sections[_SECTION_OF[name]] = {**section, name: value}
    try:
        return Config.model_validate({"hardware": config, **sections})
    except ValidationError as error:
        raise ConfigError(problems_of("MismatchCallback", sections, error)) from None
