"""A command's parser, made of the docstring of its file and of the options that commands have in common."""

import argparse
import inspect
from collections.abc import Callable
from typing import Any

from limpet import LimpetError
from limpet.files import expanded


def add_command(
    commands: Any, name: str, doc: str | None, run: Callable[[argparse.Namespace], int], json: bool = True
) -> argparse.ArgumentParser:
    """Add the parser of a command.

    Args:
        commands: the commands of the whole parser.
        name: the name of the command, as it is typed behind `limpet`.
        doc: the docstring of the command's file. Its first line, "`limpet NAME`: what it does.", describes the command;
            what follows stands at the end of the help. (None where Python runs without docstrings.)
        run: the function that runs the command, and returns the exit code.
        json: whether the command can print JSON.
    """
    first, _, rest = inspect.cleandoc(doc or "").partition("\n\n")
    said = first.partition("`: ")[2]
    parser = commands.add_parser(
        name,
        help=said.rstrip("."),
        description=f"{said[:1].upper()}{said[1:]}",
        epilog=f"{rest}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def named(text: str) -> str:
    """What an argument names: a file, a directory, or code in a file. `~` and `$NAME` stand for what they mean."""
    try:
        return expanded(text)
    except LimpetError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_config(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the options that name a configuration and override its keys."""
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", default=[], help="overrides of the configuration")
    unless = "" if required else ", for a MODEL that is a function of one"
    parser.add_argument("--config", type=named, required=required, help=f"a .yaml, .yml or .toml file{unless}")
    add_import_from(parser)


def add_import_from(parser: argparse.ArgumentParser) -> None:
    """Add the option that names folders of code which a configuration may name."""
    parser.add_argument(
        "--import-from",
        metavar="FOLDER",
        type=named,
        action="append",
        default=[],
        help="where the classes are that the configuration names as module:Class, such as . for the current folder",
    )


def add_params(parser: argparse.ArgumentParser) -> None:
    """Add the option that names trained parameters."""
    parser.add_argument(
        "--params",
        type=named,
        help="trained parameters: an .npz by leaf path, or an Orbax checkpoint's directory",
    )
