"""Reading a configuration: YAML or TOML, then overrides, then every complaint at once by key path."""

import re
import tomllib
import typing
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from .._errors import ConfigError
from ._config import Config
from ._section import shown

ConfigT = TypeVar("ConfigT", bound=Config)


@typing.overload
def load_config(path: str | Path, *overrides: str) -> Config: ...
@typing.overload
def load_config(path: str | Path, *overrides: str, model: type[ConfigT]) -> ConfigT: ...
def load_config(path: str | Path, *overrides: str, model: type[Config] = Config) -> Config:
    """Read and check a configuration file.

    Args:
        path: a .yaml, .yml or .toml file.
        *overrides: entries such as "hardware.weights.sigma=0.2", values in YAML's notation; they win over the file.
            `null` takes an entry back.
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
          seed = -1: allowed is a number >= 0
          hardware.weights.sgima: unknown key; did you mean 'sigma'? Allowed are deviation, leaves, ...
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
    entries = error.errors()
    within = {entry["loc"][:depth] for entry in entries for depth in range(len(entry["loc"]))}
    # Of a list with a wrong entry pydantic also says that it is too short.
    entries = [entry for entry in entries if not (entry["type"] == "too_short" and entry["loc"] in within)]
    problems = [_problem(values, entry) for entry in entries]
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return "\n  ".join([f"{source}: {count}", *problems])


class _StrictLoader(yaml.SafeLoader):
    """YAML without its traps: the last of two equal keys wins, 1e-3 is a text, 010 is 8 and 1:30 is 90."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        merge = "tag:yaml.org,2002:merge"
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != merge]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = self.construct_scalar(node).replace("_", "")
        if re.match(r"[-+]?0[xo]", text):
            return int(text, 0)
        if node.tag.endswith("int"):
            return int(text)
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_NUMBERS = {
    "tag:yaml.org,2002:int": r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+",
    "tag:yaml.org,2002:float": (
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
}
"""Numbers as YAML 1.2 writes them, which is also how TOML and JSON do, and underscores between digits."""

_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _NUMBERS.items():
    _StrictLoader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list("-+.0123456789"))
    _StrictLoader.add_constructor(_tag, _StrictLoader.construct_number)


def _parsed_yaml(text: str) -> Any:
    """The value that a text in YAML stands for.

    Raises:
        ValueError: it cannot be parsed; the message is one line.
    """
    try:
        return _unshared(yaml.load(text, _StrictLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        alias = "alias" in f"{error.context} {error.problem}"
        hint = " (a text that begins with * or & stands in quotation marks)" if alias else ""
        raise ValueError(f"{place}{error.problem}{hint}") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("it is nested too deeply, or holds itself") from None


def _read(path: Path) -> dict[str, Any]:
    if path.suffix not in {".yaml", ".yml", ".toml"}:
        raise ConfigError(f"{path}: a configuration is a .yaml, .yml or .toml file")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is no text in UTF-8 ({error.reason})"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    try:
        values = tomllib.loads(text) if path.suffix == ".toml" else _parsed_yaml(text)
    except (ValueError, RecursionError) as error:  # bad dates and numbers of thousands of digits are ValueErrors too
        raise ConfigError(f"{path}: cannot be parsed: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        held = "is empty" if values is None else f"holds {shown(values)}"
        raise ConfigError(f"{path}: {held}; needed are sections such as 'hardware:' and 'training:'")
    return values


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
    if not text.strip():
        raise ConfigError(f"override {override!r}: the value is missing; {key}=null takes an entry back")
    if "[" in key:
        raise ConfigError(f"override {override!r}: entries of a list have no keys of their own; give the whole list")
    try:
        # A path glob may begin with the star that stands for an alias in YAML; an override has nothing to alias.
        value = text.strip() if text.lstrip().startswith("*") else _parsed_yaml(text)
    except ValueError as error:
        raise ConfigError(f"override {override!r}: the value cannot be parsed: {error}") from None
    section = values
    for part in parts[:-1]:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise ConfigError(f"override {override!r}: '{part}' holds {shown(section)}, not a section")
    if value is None and parts[:-1] == ["hardware"]:  # a part that is taken back is none
        if parts[-1] not in section:
            raise ConfigError(f"override {override!r}: there is no such part; the parts are {', '.join(section)}")
        del section[parts[-1]]
    else:
        section[parts[-1]] = value


_WORDS: Mapping[str, str] = {
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
    "int_type": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_parsing_size": "the number is too large",
    "int_from_float": "a whole number is needed",
    "finite_number": "a finite number is needed",
    "bool_type": "true or false is needed",
    "bool_parsing": "true or false is needed",
    "string_type": "a text is needed; put it in quotation marks",
    "tuple_type": "a list is needed, in brackets such as [a, b]",
    "list_type": "a list is needed, in brackets such as [a, b]",
    "dict_type": "a mapping is needed, in braces such as {a: 1}",
    "too_short": "the list is too short; {min_length} or more are needed",
    "greater_than_equal": "allowed is a number >= {ge}",
    "greater_than": "allowed is a number > {gt}",
    "less_than_equal": "allowed is a number <= {le}",
    "less_than": "allowed is a number < {lt}",
    "literal_error": "allowed are {expected}",
    "union_tag_invalid": "give its kind, one of {expected_tags}",
    "union_tag_not_found": "give its kind, one of constant, linear, cosine, piecewise",
    "model_attributes_type": "a mapping with its kind is needed, such as {{kind: linear, steps: 300}}",
}
"""What is said in place of pydantic's messages, which speak of Python's types."""


def _problem(values: Mapping[str, Any], error: Any) -> str:
    """One of pydantic's errors as a line: key path, value, what is allowed."""
    kind, value = error["type"], error["input"]
    if kind == "invalid_key":
        path = _path(_without_tags(error["loc"][:-1], values))
        return f"{path}{': ' if path else ''}the key {shown(value)} is no text: put it in quotation marks"
    path = _path(_without_tags(error["loc"], values))
    if kind == "missing":
        missing = str(error["loc"][-1])
        return f"{path if path.endswith(missing) else f'{path}.{missing}'.lstrip('.')}: is missing"
    message = error["msg"].removeprefix("Value error, ")
    if kind in _WORDS:
        context = {name: _plain(part) for name, part in error.get("ctx", {}).items()}
        message = _WORDS[kind].format_map(context)
    elif message.startswith(("Input ", "String ", "Value ", "Tuple ", "List ", "Dictionary ")):
        message = message[:1].lower() + message[1:]
    if kind == "unknown_key" or (isinstance(value, dict) and value):
        return f"{path}: {message}" if path else message
    return f"{path} = {shown(value)}: {message}" if path else message


def _path(location: Iterable[int | str]) -> str:
    """Keys and indices as one key path."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _plain(part: Any) -> Any:
    """A part of pydantic's context, as a configuration writes it."""
    if isinstance(part, float):
        return f"{part:g}"
    return part.replace("'", "") if isinstance(part, str) else part


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
