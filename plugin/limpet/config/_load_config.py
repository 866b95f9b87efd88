"""Reading a configuration: YAML or TOML, then overrides, then every complaint at once by key path."""

import difflib
import tomllib
import typing
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from .._errors import ConfigError
from ._config import Config

ConfigT = TypeVar("ConfigT", bound=Config)


@typing.overload
def load_config(path: str | Path, *overrides: str) -> Config: ...
@typing.overload
def load_config(path: str | Path, *overrides: str, model: type[ConfigT]) -> ConfigT: ...
def load_config(path: str | Path, *overrides: str, model: type[Config] = Config) -> Config:
    """Read and check a configuration file.

    Args:
        path: a .yaml, .yml or .toml file.
        *overrides: entries such as "dynamic.sigma=0.2", values in YAML's notation; they win over the file. `null`
            takes an entry back.
        model: a subclass of `limpet.Config`, to have the sections of one's own script checked as well.

    Returns:
        The configuration, frozen; `print(config.describe())` shows what it resolved to.

    Raises:
        ConfigError: the file cannot be read or parsed, or something in it does not hold: all problems at once, each
            with its key path, its value and what is allowed.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "config.yaml"
        >>> _ = path.write_text("dynamic: {percent_deviation: 0.3, targets: ['*/kernel']}")
        >>> load_config(path, "dynamic.sigma_rule=2").dynamic.sigma
        0.15
        >>> load_config(path, "dynamic.sgima=-1", "seed=-1")
        Traceback (most recent call last):
        limpet.ConfigError: ...config.yaml: 2 problems
          seed = -1: input should be greater than or equal to 0
          dynamic.sgima: unknown key; did you mean 'sigma'? Allowed are distribution, gradient, percent_deviation, ...
    """
    values = _read(Path(path))
    for override in overrides:
        _override(values, override)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(model, values, found) for found in error.errors()]
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise ConfigError("\n  ".join([f"{path}: {count}", *problems])) from None


class _StrictLoader(yaml.SafeLoader):
    """YAML's loader lets the last of two equal keys win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        merge = "tag:yaml.org,2002:merge"
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != merge]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    if path.suffix not in {".yaml", ".yml", ".toml"}:
        raise ConfigError(f"{path}: a configuration is a .yaml, .yml or .toml file")
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, _StrictLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be parsed: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections such as 'dynamic:' and 'robustness:', got {values!r}")
    return _unshared(values)


def _unshared(value: Any) -> Any:
    """A copy in which nothing stands twice: YAML's anchors share objects, and an override must change one place."""
    if isinstance(value, dict):
        return {key: _unshared(part) for key, part in value.items()}
    return [_unshared(part) for part in value] if isinstance(value, list) else value


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"override {override!r}: expected KEY=VALUE, such as dynamic.sigma=0.2")
    try:
        value = yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"override {override!r}: the value cannot be parsed: {' '.join(str(error).split())}"
        ) from None
    section = values
    for part in parts[:-1]:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise ConfigError(f"override {override!r}: '{part}' holds {section!r}, not a section")
    section[parts[-1]] = value


def _problem(model: type[BaseModel], values: Mapping[str, Any], error: Any) -> str:
    """One of pydantic's errors as a line: key path, value, what is allowed."""
    location = _without_tags(error["loc"], values)
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if error["type"] == "extra_forbidden":
        allowed = sorted(_section_at(model, error["loc"][:-1]).model_fields)
        close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return f"{path}: unknown key; {hint}Allowed are {', '.join(allowed)}"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        section = _section_at(model, error["loc"][:-1])
        kinds = [tag for m in _models_in(section.model_fields[str(location[-1])].annotation) for tag in _tags(m)]
        message = f"give its kind, one of {', '.join(kinds)}"
    if error["type"] == "missing":
        return f"{path}: is missing"
    if isinstance(error["input"], dict):
        return f"{path}: {message}" if path else message
    return f"{path} = {error['input']!r}: {message}"


def _without_tags(location: tuple[int | str, ...], values: Any) -> list[int | str]:
    """An error's location as keys of the file: pydantic also names the variant of a union that it tried."""
    keys: list[int | str] = []
    for index, part in enumerate(location):
        known = (isinstance(values, dict) and part in values) or (isinstance(values, list) and isinstance(part, int))
        if known:
            values = values[part]  # pyright: ignore[reportArgumentType, reportCallIssue]
        elif index < len(location) - 1 or not isinstance(values, dict) or values.get("kind") == part:
            continue
        keys.append(part)
    return keys


def _section_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The model of the section in which an unknown key stands."""
    candidates = [model]
    for part in location:
        tagged = [m for m in candidates if part in _tags(m)]
        candidates = tagged or _models_in(candidates[0].model_fields[str(part)].annotation)
    return candidates[0]


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    kind = model.model_fields.get("kind")
    return typing.get_args(kind.annotation) if kind else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
