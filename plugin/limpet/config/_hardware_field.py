"""The key `hardware` of a configuration: named parts, an object, or the name of a preset."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from limpet import Hardware

from ._hardware_section import parsed_hardware
from ._preset import preset
from ._section import shown, taken


def _preset_or_parsed(value: Any) -> Hardware:
    """The hardware that a preset's name stands for, or `{preset: name, ...}` with its parameters; else see
    `parsed_hardware`."""
    named = {"preset": value} if isinstance(value, str) else value
    if not isinstance(named, Mapping) or "preset" not in named:
        return parsed_hardware(value)
    name, parameters = named["preset"], {key: given for key, given in named.items() if key != "preset"}
    if not isinstance(name, str) or not all(isinstance(key, str) for key in parameters):
        raise ValueError(f"preset = {shown(name)}: allowed is the name of a preset, and its parameters beside it")
    return taken(lambda: preset(name, **parameters), named)


HardwareField = Annotated[Hardware, PlainValidator(_preset_or_parsed), PlainSerializer(Hardware.described)]
"""A hardware, given as an object, as a recipe, as named parts, or as the name of a preset."""
