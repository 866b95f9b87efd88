"""The page's files: as TensorBoard serves them, and all scripts in one for a file that stands alone."""

import html
import json
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w.]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


@cache
def page_files() -> dict[str, str]:
    """Scripts, style and the report's template: name to text."""
    folder = files("limpet.tensorboard") / "web"
    return {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.is_file()}


def in_script(script: str) -> str:
    """A script that cannot end the element it stands in."""
    return script.replace("</script", "<\\/script")


def json_in_script(value: Any) -> str:
    """Plain values as JSON that cannot end the element it stands in, nor begin another one."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def paragraphs(lines: Iterable[str]) -> str:
    """A paragraph of HTML for each line of text."""
    return "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)


def one_script(entry: str) -> str:
    """A module and all that it imports as one script, because a file opened from disk may import no other.

    Each module becomes a function that returns what it exports, so that names stay apart.

    Args:
        entry: name of the module to start with.
    """
    modules = dict.fromkeys(_imported_first(entry))
    return "\n".join(_as_function(name) for name in modules)


def _imported_first(name: str) -> list[str]:
    before = [module for _, other in _IMPORT.findall(page_files()[name]) for module in _imported_first(other)]
    return [*before, name]


def _as_function(name: str) -> str:
    text = _IMPORT.sub(
        lambda found: f"const {found[1].replace(' as ', ': ')} = {_variable(found[2])};", page_files()[name]
    )
    exported = ", ".join(export for _, export in _EXPORT.findall(text))
    body = _EXPORT.sub(lambda found: found[1], text)
    return f"const {_variable(name)} = (() => {{\n{body}return {{ {exported} }};\n}})();"


def _variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name.removesuffix(".js"))
