"""The event files under a log directory, as TensorBoard finds them: links to directories and to files are followed."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ._event_files import PATTERN

_INFIX = PATTERN.strip("*")
_OWN_NAME = "events.out."
"""The names of event files begin so; a directory whose name merely contains the other word may be anybody's."""


def event_files(root: Path, complain: Callable[[str], object]) -> Iterator[Path]:
    """Every event file under a directory.

    A link that leads back to a directory above it is followed no further, because it would never end.

    Args:
        root: the directory.
        complain: is given a line on what cannot be read, and on what has an event file's name but is none.
    """
    waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(root, ())]
    while waiting:
        directory, above = waiting.pop()
        try:
            found = os.stat(directory)
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            complain(f"{directory}: cannot be read ({error.strerror})")
            continue
        identity = (found.st_dev, found.st_ino)
        if identity in above:
            continue
        for entry in entries:
            path = Path(entry.path)
            try:
                is_directory, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:  # a link to itself
                complain(f"{path}: cannot be read ({error.strerror})")
                continue
            if is_directory:
                waiting.append((path, (*above, identity)))
            if _INFIX in entry.name and is_file:
                yield path
            elif _INFIX in entry.name and not (is_directory and not entry.name.startswith(_OWN_NAME)):
                kind = "a directory" if is_directory else "no file, or a link to none"
                complain(f"{path}: is left out: it has the name of an event file and is {kind}")


def run_name(directory: Path, root: Path) -> str:
    """What TensorBoard calls the run in a directory: the path below the log directory, "." for that itself.

    Bytes of a path that are no text become question marks, as they do there.
    """
    return os.fsencode(directory.relative_to(root).as_posix()).decode("utf-8", errors="replace")
