"""The command line's reference, written from its parsers."""

import argparse
from collections.abc import Iterator

import mkdocs_gen_files

from limpet.cli import parser

HEAD = """\
# Command line

`limpet COMMAND --help` says the same in a terminal. Tables are plain text when they are piped; `--json` gives every
number unrounded. Bad input is one line on stderr and exit code 2, never a traceback. A run is a directory of event
files, or a curve that `curve.save` wrote. [Guides: the command line](../guides/command-line.md) shows what each is for.
"""


def escaped(text: str) -> str:
    """A text as it stands in a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def rows(command: argparse.ArgumentParser) -> Iterator[str]:
    """A row for each argument but --help."""
    for action in command._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        name = ", ".join(f"`{option}`" for option in action.option_strings)
        value = action.metavar or (action.dest.upper() if action.nargs != 0 and action.option_strings else "")
        if action.choices is not None and not action.metavar:
            value = " or ".join(map(str, action.choices))
        shown = name + (f" `{value}`" if value and action.nargs != 0 else "")
        default = action.default
        plain = default not in (None, False, argparse.SUPPRESS) and default != []
        needed = " (needed)" if action.required and action.option_strings else ""
        first, last = shown or f"`{action.dest}`", f"`{default}`" if plain else ""
        yield f"| {first} | {escaped(action.help or '')}{needed} | {last} |"


def page() -> str:
    """The whole page."""
    whole = parser()
    parts = [HEAD, f"```text\n{(whole.epilog or '').strip()}\n```\n"]
    for name, command in whole.get_default("parsers").items():
        parts.append(f"## limpet {name}\n\n{command.description}\n")
        parts.append(f"```text\n{command.format_usage().removeprefix('usage: ').strip()}\n```\n")
        parts.append("\n".join(["| argument | what it says | default |", "|---|---|---|", *rows(command)]) + "\n")
        if command.epilog:
            parts.append(f"```text\n{command.epilog.strip()}\n```\n")
    return "\n".join(parts)


with mkdocs_gen_files.open("reference/command-line.md", "w") as file:
    file.write(page())
