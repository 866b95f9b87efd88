"""A configuration without a file: a hardware, and plain arguments beside it."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from limpet import ConfigError, Hardware, Recipe
from limpet.checks import shown

from ._config import Config
from ._load_config import problems_of
from ._run_sections import RobustnessSection, TensorboardSection

_SECTION_OF = {
    **dict.fromkeys(RobustnessSection.model_fields.keys() - {"seed"}, "robustness"),
    **dict.fromkeys(TensorboardSection.model_fields, "tensorboard"),
}
"""The section of the configuration to which a plain argument belongs."""


_SECTIONS = Config.model_fields.keys() - {"hardware"}
_ARGUMENTS = ("metric_fn", "eval_batch", "resume", "audit")
"""Arguments of the callback itself, which a hint may name."""


def _unknown(name: str) -> str:
    allowed = sorted({*_SECTION_OF, *_SECTIONS})
    close = difflib.get_close_matches(name, [*allowed, *_ARGUMENTS], n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"MismatchCallback: there is no argument {name!r}; {hint}beside a hardware there are {', '.join(allowed)}"


def checked_config(config: Any, plain: Mapping[str, Any]) -> Config:
    """The configuration that a callback is given, in whichever form.

    Args:
        config: a configuration, a hardware or a recipe.
        plain: what the configuration would say beside a hardware or a recipe: whole sections by name, or keys of
            `robustness` and `tensorboard` by theirs.

    Raises:
        ConfigError: it is none of these, does not say what training redraws, or something in it does not hold.
    """
    if isinstance(config, Config):
        if plain:
            given = ", ".join(plain)
            raise ConfigError(
                f"{given}: stands in the configuration already; override it by load_config(..., 'seed=1')"
            )
        if config.training is None:
            raise ConfigError(
                "training: is missing, so that nothing says what training redraws; give training: {dynamic: {}} to "
                "draw all parts at every step, or training: {} to train without mismatch"
            )
        return config
    if not isinstance(config, Hardware | Recipe):
        raise ConfigError(
            f"config = {shown(config)}: give what limpet.load_config returns, or a limpet.Hardware or a recipe, "
            f"with plain arguments such as logdir=, scales= and chips= beside it (the model stands before it)"
        )
    sections: dict[str, Any] = {"training": {"dynamic": {}}}
    for name, value in plain.items():
        if name in _SECTION_OF:
            continue
        if name not in _SECTIONS:
            raise ConfigError(_unknown(name))
        if name == "training" and value is None:
            raise ConfigError("training = None: give {} to train without mismatch, or leave it out to draw all parts")
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
        raise ConfigError(problems_of("MismatchCallback", error)) from None
