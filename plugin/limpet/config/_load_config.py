"""Reading a configuration: YAML or TOML, then overrides, then every complaint at once by key path."""

import tomllib
import typing
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

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
        *overrides: entries such as "hardware.weights.sigma=0.2", values in YAML's notation; they win over the file. `null`
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
        >>> _ = path.write_text("hardware: {weights: {leaves: '*/kernel', percent_deviation: 0.3}}")
        >>> load_config(path, "hardware.weights.sigma_rule=2").hardware
        Hardware(weights: gaussian, sigma 0.15 on */kernel)
        >>> load_config(path, "hardware.weights.sgima=-1", "seed=-1")
        Traceback (most recent call last):
        limpet.ConfigError: ...config.yaml: 2 problems
          seed = -1: input should be greater than or equal to 0
          hardware.weights.sgima: unknown key; did you mean 'sigma'? Allowed are deviation, leaves, percent_deviation, ...
    """
    values = _read(Path(path))
    for override in overrides:
        _override(values, override)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(problems_of(str(path), values, error)) from None


def problems_of(source: str, values: Mapping[str, Any], error: ValidationError) -> str:
    """All problems of a configuration at once, each with its key path, its value and what is allowed.

    Args:
        source: where the configuration comes from.
        values: what was to be validated.
        error: what pydantic found.
    """
    problems = [_problem(values, problem) for problem in error.errors()]
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return "\n  ".join([f"{source}: {count}", *problems])


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
        raise ConfigError(f"{path}: expected sections such as 'hardware:' and 'training:', got {values!r}")
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
        raise ConfigError(f"override {override!r}: expected KEY=VALUE, such as hardware.weights.sigma=0.2")
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


def _problem(values: Mapping[str, Any], error: Any) -> str:
    """One of pydantic's errors as a line: key path, value, what is allowed."""
    location = _without_tags(error["loc"], values)
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if error["type"] == "unknown_key":
        return f"{path}: {message}"
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        expected = error.get("ctx", {}).get("expected_tags", "'constant', 'linear', 'cosine', 'piecewise'")
        message = f"give its kind, one of {expected.replace(chr(39), '')}"
    if error["type"] == "missing":
        missing = str(error["loc"][-1])
        return f"{path if path.endswith(missing) else f'{path}.{missing}'.lstrip('.')}: is missing"
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
