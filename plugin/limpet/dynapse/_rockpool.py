"""Rockpool's own tools for DYNAP-SE2, imported when they are needed."""

from importlib import import_module
from typing import Any

from .._errors import LimpetError
from ..leaves.rockpool import quietly


def rockpool(module: str) -> Any:
    """A module below `rockpool.devices.dynapse`.

    Args:
        module: its name there, such as "lookup"; empty for the package itself.

    Raises:
        LimpetError: Rockpool is not installed.
    """
    name = "rockpool.devices.dynapse" + (f".{module}" if module else "")
    try:
        with quietly():
            return import_module(name)
    except ImportError as error:
        raise LimpetError(f"limpet.dynapse needs Rockpool, and {name} cannot be imported ({error})") from None
