"""Reading a configuration: YAML or TOML, then overrides, then every complaint at once by key path."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from limpet import ConfigError, LimpetError
from limpet.files import path_of

from ._config import Config
from ._parsed_text import MAX_BYTES, MAX_DEPTH, cut, parsed_yaml, read_values, require_within_limits
from ._section import shown

ConfigT = TypeVar("ConfigT", bound=Config)

MAX_PROBLEMS = 20
"""The largest number of problems that are said one by one; of more, it is said how many there are."""


def load_config(
    path: str | Path,
    *overrides: str,
    model: type[ConfigT] = Config,  # pyright: ignore[reportArgumentType]
) -> ConfigT:
    """Read and check a configuration file.

    Args:
        path: a .yaml, .yml or .toml file, of at most 500 kB and 20,000 values.
        *overrides: entries such as "hardware.weights.sigma=0.2", values in YAML's notation; they win over the file.
            `null` takes an entry back.
        model: a subclass of `limpet.Config`, to have the sections of one's own script checked as well.

    Returns:
        The configuration, frozen; `print(config.describe())` shows what it resolved to.

    Raises:
        ConfigError: the file cannot be read or parsed, or something in it does not hold: all problems at once, each
            with its key path, its value and what is allowed.

    Examples:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "config.yaml"
        >>> _ = path.write_text("hardware: {weights: {leaves: '*/kernel', percent_deviation: 0.3}}")
        >>> load_config(path, "hardware.weights.sigma_rule=2").hardware
        Hardware(weights: gaussian, sigma 0.15 on */kernel)
        >>> load_config(path, "hardware.weights.sgima=-1", "seed=-1")
        Traceback (most recent call last):
        limpet.ConfigError: ...config.yaml: 2 problems
          seed = -1: allowed is a number >= 0
          hardware.weights.sgima: unknown key; did you mean 'sigma'? Allowed are array, deviation, ...
    """
    values = _read(_named(path))
    for override in overrides:
        _override(values, override)
    if overrides:
        try:
            require_within_limits(values)
        except ValueError as error:
            raise ConfigError(f"{path} with its overrides: {error}") from None
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(problems_of(str(path), error)) from None


def problems_of(source: str, error: ValidationError) -> str:
    """All problems of a configuration at once, each with its key path, its value and what is allowed.

    Args:
        source: the name of the file or function that the configuration comes from.
        error: the error that pydantic raised, with all of its entries.
    """
    entries = error.errors()
    within = {entry["loc"][:depth] for entry in entries for depth in range(len(entry["loc"]))}
    # Of a list with a wrong entry pydantic also says that it is too short.
    entries = [entry for entry in entries if not (entry["type"] == "too_short" and entry["loc"] in within)]
    problems = [_problem(entry) for entry in entries[:MAX_PROBLEMS]]
    count = f"{len(entries)} problem{'s' if len(entries) > 1 else ''}"
    if len(entries) > MAX_PROBLEMS:
        count += f", the first {MAX_PROBLEMS} of which are"
    return "\n  ".join([f"{source}: {count}", *problems])


def _named(path: str | Path) -> Path:
    try:
        return path_of(path)
    except LimpetError as error:
        raise ConfigError(str(error)) from None


def _read(path: Path) -> dict[str, Any]:
    values = read_values(path)
    if not isinstance(values, dict):
        held = "is empty" if values is None else f"holds {shown(values)}"
        raise ConfigError(f"{path}: {held}; needed are sections such as 'hardware:' and 'training:'")
    return values


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")

    def refused(reason: str) -> ConfigError:
        told = repr(override) if len(override) <= 160 else f"{override[:160]!r}..."
        return ConfigError(f"override {told}: {reason}")

    if not equals or not all(parts):
        raise refused("expected KEY=VALUE, such as hardware.weights.sigma=0.2")
    if len(parts) > MAX_DEPTH:
        raise refused(f"the key is nested too deeply; allowed are {MAX_DEPTH} levels")
    if len(text) > MAX_BYTES:
        raise refused(f"the value is too large; allowed are {MAX_BYTES:,} characters")
    if not text.strip():
        raise refused(f"the value is missing; {key[:80]}=null takes an entry back")
    if "[" in key:
        raise refused("entries of a list have no keys of their own; give the whole list")
    try:
        # A path glob may begin with the star that stands for an alias in YAML; an override has nothing to alias.
        value = text.strip() if text.lstrip().startswith("*") else parsed_yaml(text)
    except ValueError as error:
        raise refused(f"the value cannot be parsed: {error}") from None
    section = values
    for part in parts[:-1]:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise refused(f"'{part}' holds {shown(section)}, not a section")
    if value is None and parts[:-1] in (["hardware"], ["training"]):  # what is taken back there is none
        if parts[0] == "hardware" and parts[-1] not in section:
            raise refused(f"there is no such part; the parts are {', '.join(map(str, section))}")
        section.pop(parts[-1], None)
    else:
        section[parts[-1]] = value


_NUMBER, _WHOLE = "a number is needed", "a whole number is needed"
_LIST = "a list is needed, in brackets such as [a, b]"
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("float_type", "float_parsing"), _NUMBER),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), _WHOLE),
    "int_parsing_size": "the number is too large",
    "finite_number": "a finite number is needed",
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false is needed"),
    "string_type": "a text is needed; put it in quotation marks",
    **dict.fromkeys(("tuple_type", "list_type"), _LIST),
    "dict_type": "a mapping is needed, in braces such as {a: 1}",
    "too_short": "the list is too short; {min_length} or more are needed",
    "greater_than_equal": "allowed is a number >= {ge}",
    "greater_than": "allowed is a number > {gt}",
    "less_than_equal": "allowed is a number <= {le}",
    "less_than": "allowed is a number < {lt}",
    "literal_error": "allowed are {expected}",
}
"""What is said in place of pydantic's messages, which speak of Python's types."""


def _problem(error: Any) -> str:
    """One of pydantic's errors as a line: key path, value, what is allowed."""
    kind, value, location = error["type"], error["input"], error["loc"]
    if kind == "invalid_key":
        path = _path(location[:-1])
        return f"{path}{': ' if path else ''}the key {shown(value)} is no text: put it in quotation marks"
    path = _path(location)
    if kind == "missing":
        return f"{path}: is missing"
    message = error["msg"].removeprefix("Value error, ")
    if kind in _WORDS:
        message = _WORDS[kind].format_map({name: _plain(part) for name, part in error.get("ctx", {}).items()})
    elif message.startswith(("Input ", "String ", "Value ", "Tuple ", "List ", "Dictionary ")):
        message = message[:1].lower() + message[1:]
    if not path:
        return message
    is_said = kind == "unknown_key" or (isinstance(value, dict) and value)
    return f"{path}: {message}" if is_said else f"{path} = {shown(value)}: {message}"


def _path(location: Iterable[int | str]) -> str:
    """Keys and indices as one key path; keys too long for a line are cut."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{cut(part)}" for part in location).lstrip(".")


def _plain(part: Any) -> Any:
    """A part of pydantic's context, as a configuration writes it."""
    if isinstance(part, float):
        return f"{part:g}"
    return part.replace("'", "") if isinstance(part, str) else part
