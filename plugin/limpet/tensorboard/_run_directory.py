"""The directory of a run: starting one in it, or going on, such that TensorBoard and every reader see one run there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from limpet import LogdirError
from limpet.checks import warn_user, whole
from limpet.files import path_of

from ._event_files import number_and_run, own_and_foreign
from ._writer import CurveWriter, refused


def start_run(
    logdir: str | Path, *, prefix: str = "", resume: int | None = None, run: str | None = None
) -> CurveWriter:
    """Start a run in a directory, or go on with the one that lies there.

    TensorBoard shows all event files of one directory as one run. So a new run sets the files of an earlier one aside:
    they move to a directory beside this one, `<logdir>.1` or the first number that is free, and a warning says so.
    Nothing that was logged is lost. Event files that Limpet did not write stay where they are, with a warning.

    Args:
        logdir: the run's directory; made if need be.
        prefix: what every tag begins with, such as "limpet/", where event files of others lie in the same directory.
        resume: the first step that will be logged, where an earlier run goes on; readers drop what was logged of that
            step and later ones. None for a new run.
        run: which run goes on: what the writer's `run` was. None where that is not known.

    Returns:
        The writer of the run's event file.

    Raises:
        LogdirError: the directory cannot be made or written, an earlier run in it cannot be set aside, or it holds
            another run than the one that goes on; or `resume` is no whole number from 0 on.
    """
    directory = path_of(logdir)
    if resume is not None:
        resume = whole("resume", resume, error=LogdirError)
    with _alone_in(directory):
        return _started(directory, prefix, resume, run)


def _started(directory: Path, prefix: str, resume: int | None, run: str | None) -> CurveWriter:
    try:
        own, foreign = own_and_foreign(directory)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error}); name a directory that you may read and write"
        raise refused(directory, reason) from None
    if resume is None and own:
        aside = _set_aside(directory, own)
        warn_user(
            f"tensorboard.logdir = {str(directory)!r}: held an earlier run, which is now in '{aside}'; to go on with a "
            f"run, resume from its checkpoint",
        )
    held = {name for _, name in map(number_and_run, own) if name is not None} if resume is not None else set()
    if held and run is not None and run not in held:
        found = f"holds another run than the one that goes on{_whereabouts(directory, run)}"
        raise refused(directory, f"{found}; name the directory of that run, or an empty one")
    if foreign:
        warn_user(
            f"tensorboard.logdir = {str(directory)!r}: holds event files that Limpet did not write, such as "
            f"'{foreign[0].name}', and TensorBoard shows all files of one directory as one run; to keep them apart, "
            f"name another directory, such as '{directory / 'limpet'}', or give a prefix for the tags",
        )
    writer = CurveWriter(directory, prefix, run)
    if resume is not None:
        # TensorBoard's slow loader takes the first start of a session that it meets for the beginning of the run; only
        # from the second on, it drops what the start's step and later ones hold. The earlier part of this run may have
        # written none (see below; and the first version did not), so here are two, which do no more than one does. The
        # fast loader needs none: where a tag's steps go back, it drops what was logged of those steps before.
        writer.start_session(resume)
        writer.start_session(resume)
    elif not foreign:
        # Beside foreign files there is no start at step 0: it would have TensorBoard's slow loader drop everything that
        # they hold if they have a start of their own, and EventAccumulator, by which scripts read event files, drop
        # their scalars in any case. (Of what is logged as tensors, as all of Limpet's is, EventAccumulator drops none.)
        writer.start_session(0)
    return writer


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep others that start a run in a directory waiting, so that of two that start at once the second sees the first.

    The file system tells them apart, where it can: by a lock on the directory, which ends with the process at the
    latest. Where it cannot, only a start within the same moment would go unseen.
    """
    try:
        import fcntl

        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY)
    except (ImportError, OSError):  # no POSIX; a directory that cannot be made, of which the start itself will tell
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _set_aside(directory: Path, files: list[Path]) -> Path:
    """Move the event files of an earlier run to a new directory beside this one, and say which."""
    try:
        aside = _new_directory_beside(directory)
        for file in files:
            # Another process that starts in this directory, too, may have moved it before.
            if file.exists():
                shutil.move(file, aside / file.name)
    except OSError as error:
        reason = f"holds an earlier run, which cannot be set aside beside it ({error.strerror or error})"
        raise refused(directory, f"{reason}; name another directory") from None
    return aside if directory.is_absolute() else Path(os.path.relpath(aside))


def _whereabouts(directory: Path, run: str) -> str:
    """Where a run is, if it was set aside."""
    absolute = Path(os.path.abspath(directory))
    for beside in sorted(absolute.parent.glob("*")):
        if beside.name.startswith(f"{absolute.name}.") and run in {
            name for _, name in map(number_and_run, own_and_foreign(beside)[0])
        }:
            return f", which was set aside, into '{beside}'"
    return ""


def _new_directory_beside(directory: Path) -> Path:
    """The directory's name with the first number that is free; made here, so that no other process takes it."""
    beside = Path(os.path.abspath(directory))  # "." has no name to put a number after
    for number in count(1):
        aside = beside.with_name(f"{beside.name}.{number}")
        try:
            aside.mkdir()
        except FileExistsError:
            continue
        return aside
    raise AssertionError("numbers do not end")
