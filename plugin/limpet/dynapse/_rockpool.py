"""Rockpool's own tools for DYNAP-SE2, imported when they are needed."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from .._errors import LimpetError


@contextmanager
def quietly() -> Iterator[None]:
    """Holds back what Rockpool says of back ends that are not installed."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(disabled, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(disabled)


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
