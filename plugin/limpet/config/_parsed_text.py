"""What a text in YAML or TOML stands for, within limits that no configuration written by a person comes near.

A few lines of YAML can stand for gigabytes (an alias of aliases of aliases) or for themselves (an alias within its own
anchor). What aliases repeat is shared until it has been counted, so that it takes no memory.
"""

import errno
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from limpet import ConfigError

MAX_BYTES = 500_000
"""The largest size of a file."""
MAX_DEPTH = 50
"""The largest depth of collections within collections."""
MAX_VALUES = 20_000
"""The largest number of keys and values, those that YAML's aliases repeat counted each time."""
MAX_MERGED = 1_000
"""The largest number of keys that a mapping has with those that it merges by `<<`."""
MAX_DIGITS = 300
"""The largest number of digits of an integer: larger ones exceed the range of a float."""
MAX_DIRECTIVES = 10
"""Lines such as %YAML 1.2. The parser compares each with all before it, and no configuration needs more than one."""
_TOO_DEEP = f"it is nested too deeply; allowed are {MAX_DEPTH} levels"
_TOO_MANY = f"too many values; allowed are {MAX_VALUES:,}"

# libyaml, where PyYAML was built with it, is ten times as fast.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_values(path: Path, endings: Collection[str] = (".yaml", ".yml", ".toml")) -> Any:
    """What a file in YAML or TOML stands for.

    Args:
        path: the file to be read, a regular one.
        endings: the endings of its name that are allowed.

    Raises:
        ConfigError: it cannot be read or parsed, or exceeds the limits.
    """
    if path.suffix not in endings:
        *most, last = endings
        raise ConfigError(f"{path}: a configuration is a {', '.join(most)} or {last} file")
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError(errno.EINVAL, "it is no regular file")  # a pipe would be waited for
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8") if len(content) <= MAX_BYTES else ""
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: it is no text in UTF-8 ({error.reason})") from None
    except (OSError, ValueError) as error:  # ValueError: of the character 0 in a path
        raise ConfigError(f"{cut(str(path))}: cannot be read: {getattr(error, 'strerror', error)}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is too large for a configuration; allowed are {MAX_BYTES:,} bytes")
    try:
        return parsed_toml(text) if path.suffix == ".toml" else parsed_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be parsed: {' '.join(str(error).split())}") from None


def cut(name: str) -> str:
    """A name as it stands in a line: cut where it is long, and without what would end the line."""
    text = name if name.isprintable() else repr(name)
    return text if len(text) <= 80 else f"{text[:60]}..."


def parsed_yaml(text: str) -> Any:
    """The value that a text in YAML stands for; nothing in it is shared, so that an override changes one place.

    Raises:
        ValueError: it cannot be parsed, or exceeds the limits; the message is one line.
    """
    try:
        _require_few_events(text)
        values = yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        said = (getattr(error, "problem", None) or str(error)).replace("exceeded maximum nesting depth", _TOO_DEEP)
        if "alias" in f"{said} {getattr(error, 'context', None)}":
            said += " (a text that begins with * or & stands in quotation marks)"
        raise ValueError(" ".join(f"{place}{said}".split())) from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"a tag that begins with ! does not fit what stands behind it ({str(error)[:80]})") from None
    require_within_limits(values)
    return _unshared(values)


_WORD = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DOTTED = re.compile(rf"(?<![\w-]){_WORD}(?:[ \t]*+\.[ \t]*+{_WORD}){{{MAX_DEPTH}}}")
"""A key of more than `MAX_DEPTH` words: Python's parser takes the square of their number in time."""


def parsed_toml(text: str) -> Any:
    """The value that a text in TOML stands for.

    Raises:
        ValueError: it cannot be parsed, or exceeds the limits.
    """
    if _DOTTED.search(text):
        raise ValueError(f"a key is nested too deeply; allowed are {MAX_DEPTH} levels")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    require_within_limits(values)
    return values


def require_within_limits(values: Any) -> None:
    """Refuse values that exceed the limits, or texts that no file can hold.

    Args:
        values: what was read: mappings, lists, numbers, texts and the like.

    Raises:
        ValueError: they do; names the key path.
    """
    count = 0
    waiting: list[tuple[Any, tuple[str, ...]]] = [(values, ())]
    while waiting:  # a loop, because what is nested too deeply would exhaust a recursion
        value, path = waiting.pop()
        count += 1
        place = f"{'.'.join(path)[:80]}: " if path else ""
        if len(path) > MAX_DEPTH:
            raise ValueError(f"{place}{_TOO_DEEP}")
        if count > MAX_VALUES:
            raise ValueError(_TOO_MANY)
        if isinstance(value, dict):
            waiting += [(key, path) for key in value]
            waiting += [(part, (*path, key if isinstance(key, str) else "[]")) for key, part in value.items()]
        elif isinstance(value, list | tuple | set):
            waiting += [(part, (*path, "[]")) for part in value]
        elif isinstance(value, int) and value.bit_length() > MAX_DIGITS * 3.33:
            raise ValueError(f"{place}a whole number of more than {MAX_DIGITS} digits")
        elif isinstance(value, str) and re.search("[\ud800-\udfff]", value):
            raise ValueError(f"{place}{value[:80]!r} holds characters that are none (lone surrogates)")


def _require_few_events(text: str) -> None:
    """Refuse a text of too many values, or nested too deeply, before anything is built of it."""
    if len(re.findall(r"^%", text, re.MULTILINE)) > MAX_DIRECTIVES:
        raise yaml.YAMLError(f"more than {MAX_DIRECTIVES} lines begin with %")
    depth = values = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        values += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH or values > MAX_VALUES:
            raise yaml.YAMLError(_TOO_DEEP if depth > MAX_DEPTH else _TOO_MANY)


def _refused(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


class _StrictLoader(_Loader):
    """YAML without its traps: the last of two equal keys wins, 1e-3 is a text, 010 is 8 and 1:30 is 90."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        flattened = self.__dict__.setdefault("flattened", set())
        if node in flattened:  # whose keys are those of what it merges, too
            return
        flattened.add(node)
        seen, merged = set(), 0
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refused(key_node, "a key is a text")
            is_merge = key_node.tag.endswith(":merge")
            key = key_node.value if is_merge else self.construct_object(key_node)
            if key in seen:
                raise _refused(key_node, f"the key '{str(key)[:80]}' stands twice")
            seen.add(key)
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for part in parts if is_merge else ():
                if isinstance(part, yaml.MappingNode):
                    self.flatten_mapping(part)
                    merged += len(part.value)
                if merged > MAX_MERGED:
                    raise _refused(part, f"it merges too many keys; allowed are {MAX_MERGED:,}")
        super().flatten_mapping(node)

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

# YAML 1.2 knows no dates either: 2026-01-01 is a text.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {*_NUMBERS, "tag:yaml.org,2002:timestamp"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _NUMBERS.items():
    _StrictLoader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list("-+.0123456789"))
    _StrictLoader.add_constructor(_tag, _StrictLoader.construct_number)


def _unshared(value: Any) -> Any:
    """A copy in which nothing stands twice: YAML's anchors share objects."""
    if isinstance(value, dict):
        return {key: _unshared(part) for key, part in value.items()}
    return [_unshared(part) for part in value] if isinstance(value, list) else value
