"""The section `tensorboard`: where, and how often, a run is logged."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
)

from ._section import Count, Section


def _checked_logdir(logdir: Any) -> Any:
    if not isinstance(logdir, str | Path) or not str(logdir).strip() or "\0" in str(logdir):
        raise ValueError("the path of a directory is needed, such as runs/experiment")
    return logdir


def _checked_prefix(prefix: str) -> str:
    if prefix and not (prefix.isprintable() and prefix.strip()):
        raise ValueError("allowed is a text that can be read, such as limpet/")
    return prefix


class TensorboardSection(Section):
    """Where and how often a run is logged.

    Attributes:
        logdir: the directory of the run's event files.
        flush_steps: the log is written whenever so many steps were passed.
        prefix: stands before every tag, for a directory that is shared with another writer.
        on_error: whether a log that cannot be written, because the disk is full, say, ends training ("raise"), or is
            a warning, after which training goes on without a log ("warn").
    """

    logdir: Annotated[Path, BeforeValidator(_checked_logdir)] = Path("runs/limpet")
    flush_steps: Count = 100
    prefix: Annotated[str, AfterValidator(_checked_prefix)] = ""
    on_error: Literal["raise", "warn"] = "raise"
