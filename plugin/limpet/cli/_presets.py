"""`limpet presets`: list the chips that come with Limpet; or show one: its source, what was measured, its numbers."""

import argparse
from typing import Any

from ._command import add_command
from ._output import show, table, write_json


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "presets", __doc__, run)
    parser.add_argument("name", nargs="?", metavar="NAME", help="of a preset, to show it whole")


def run(arguments: argparse.Namespace) -> int:
    """List presets, or show one."""
    from ..config._preset import described_preset, preset_names

    if arguments.name is not None:
        preset = described_preset(arguments.name)
        if arguments.json:
            write_json(_about(preset) | {"parameters": preset.parameters or {}, "hardware": preset.parts})
        else:
            print(preset.text, end="")
            if preset.like:
                print(f"\n# {preset.like}, for what is not said above\n{described_preset(preset.like).text}", end="")
        return 0
    presets = [described_preset(name) for name in preset_names()]
    if arguments.json:
        write_json([_about(preset) for preset in presets])
        return 0
    rows = [(preset.name, preset.status, preset.title) for preset in presets]
    show(
        table({"preset": "left", "its numbers are": "left", "chip": "left"}, rows),
        "limpet presets NAME shows one whole; hardware: NAME in a configuration and limpet.preset(NAME) take it",
    )
    return 0


def _about(preset: Any) -> dict[str, Any]:
    return {name: getattr(preset, name) for name in ("name", "title", "source", "status", "measured", "units", "notes")}
