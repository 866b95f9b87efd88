"""Progress of long evaluations: a bar on a terminal, silence elsewhere; and a line where compiling takes long."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(description: str, total: int, shown: bool | None) -> Iterator[Callable[[int], None]]:
    """A context that gives `advance(count)`.

    Args:
        description: the words before the bar.
        total: the number that the counts add up to.
        shown: True or False; None shows the bar where standard error is a terminal, and clears it afterwards.
    """
    if shown is False or (shown is None and not sys.stderr.isatty()):
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=shown is None) as progress:
        task = progress.add_task(description, total=total)
        yield lambda count: progress.advance(task, count)


PATIENCE = 5.0
"""After so many seconds it is said what one waits for."""


@contextmanager
def saying(what: str) -> Iterator[None]:
    """A context that writes one line to standard error if it takes longer than `PATIENCE`."""
    timer = threading.Timer(PATIENCE, lambda: print(what, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
