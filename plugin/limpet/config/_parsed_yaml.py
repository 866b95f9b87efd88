"""What a text in YAML stands for, within limits that no configuration written by a person comes near.

A few lines of YAML can stand for gigabytes (an alias of aliases of aliases), for themselves (an alias within its own
anchor), or nest deeper than any stack. So the parser's events are counted before anything is built of them.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from ._limits import MAX_ALIASES, MAX_DEPTH, MAX_VALUES

MAX_DIRECTIVES = 10
"""Lines such as %YAML 1.2. The parser compares each with all before it, and no configuration needs more than one."""

_TOO_DEEP = f"it is nested too deeply; allowed are {MAX_DEPTH} levels"

# libyaml, where PyYAML was built with it, is ten times as fast.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parsed_yaml(text: str) -> Any:
    """The value that a text in YAML stands for; nothing in it is shared, so that an override changes one place.

    Raises:
        ValueError: it cannot be parsed, or exceeds the limits; the message is one line.
    """
    try:
        _require_within_limits(text)
        return _unshared(yaml.load(text, _StrictLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = str(error.problem).replace("exceeded maximum nesting depth", _TOO_DEEP)  # libyaml's own limit
        raise ValueError(" ".join(f"{place}{problem}".split())) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _require_within_limits(text: str) -> None:
    """Refuse what would grow beyond measure, before it does.

    Raises:
        YAMLError: it would, or the text is no YAML.
    """
    if len(re.findall(r"^%", text, re.MULTILINE)) > MAX_DIRECTIVES:
        raise yaml.YAMLError(f"more than {MAX_DIRECTIVES} lines begin with %")
    values = aliases = 0
    size_of: dict[str, int] = {}  # of what an anchor names, in values
    open_: list[tuple[str | None, int]] = []  # for each open collection its anchor, and `values` before it
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in open_):
                raise _refused(event, f"the alias *{event.anchor} stands within what it names, which would hold itself")
            if event.anchor not in size_of:
                hint = "a text that begins with * or & stands in quotation marks"
                raise _refused(event, f"undefined alias {event.anchor[:80]!r} ({hint})")
            aliases += 1
            values += size_of[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor is not None:
                size_of[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                size_of[anchor] = values - before
        if len(open_) > MAX_DEPTH:
            raise _refused(event, _TOO_DEEP)
        if aliases > MAX_ALIASES:
            raise _refused(event, f"too many aliases; allowed are {MAX_ALIASES:,}")
        if values > MAX_VALUES:
            raise _refused(event, f"too many values, with what aliases repeat; allowed are {MAX_VALUES:,}")


def _refused(event: yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


class _StrictLoader(_Loader):
    """YAML without its traps: the last of two equal keys wins, 1e-3 is a text, 010 is 8 and 1:30 is 90."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            # PyYAML reads 2026-13-45 as a date and believes a tag such as !!bool; what Python says of it comes through.
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            said = f": {error}" if isinstance(error, ValueError) else ""
            problem = f"what stands here is no {kind}{said}; put it in quotation marks if it is a text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if not isinstance(node, yaml.MappingNode):
            return super().construct_mapping(node, deep)  # which says what is wrong
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key is a text", key_node.start_mark)
            if key in seen:
                problem = f"the key '{str(key)[:80]}' stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
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


def _unshared(value: Any) -> Any:
    """A copy in which nothing stands twice: YAML's anchors share objects."""
    if isinstance(value, dict):
        return {key: _unshared(part) for key, part in value.items()}
    return [_unshared(part) for part in value] if isinstance(value, list) else value
