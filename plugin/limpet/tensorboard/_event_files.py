"""The event files under a directory: finding them, telling Limpet's own from others, reading up to what is damaged."""

import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

from ._records import DamagedRecordError, records_of
from ._summaries import PLUGIN_NAME

SUFFIX = ".limpet"
"""What the names of Limpet's event files end in."""
PATTERN = "*tfevents*"
"""The names that TensorBoard takes for those of event files."""
FIRST_EVENTS = 500
"""The number of events by which Limpet tells its own files: nobody waits until a file of gigabytes is read."""
OWN_TAGS = ("limpet/config", "mismatch/sigma_", "robustness_mean/")
"""What the first tags of the first version begin with, whose files have no suffix."""
WRITTEN = re.compile(r"limpet, file (\d{1,18}) of run (.+)")


def events_of(path: Path, complain: Callable[[str], object]) -> Iterator[Event]:
    """The events of a file, up to where it is damaged.

    Args:
        path: the event file, which may still be written by a running process.
        complain: is given a line on what cannot be read.
    """
    if not path.is_file():  # a pipe would be waited for
        complain(f"{path}: cannot be read (it is no file)")
        return
    try:
        for record in records_of(path):
            try:
                event = Event.FromString(record)
            except DecodeError as error:
                complain(f"{path}: a record that is no event is left out ({error})")
                continue
            yield event
    except OSError as error:
        complain(f"{path}: cannot be read ({error.strerror or error})")
    except DamagedRecordError as error:
        complain(f"{path}: is read up to where it is damaged or cut short ({error})")


def written_as(number: int, run: str) -> str:
    """What the first event of a file says of its writer: the file's number in its directory, and its run."""
    return f"limpet, file {number} of run {run}"


def number_and_run(path: Path) -> tuple[int, str | None]:
    """The number of an event file in its directory, and the name of its run; 0 and None for one that does not say."""
    written = next((WRITTEN.fullmatch(event.source_metadata.writer) for event in _first_events(path, 1)), None)
    return (int(written[1]), written[2]) if written else (0, None)


def in_order(path: Path) -> tuple[Path, int, bool, float, str]:
    """The key that sorts event files by directory, and there in the order in which they were begun.

    That is what their numbers say. Times say less: a clock may have been set back between a run and its resumption.
    Files that have no number come first. Of those, a file that began a run comes before those that went on with it,
    whatever the time; only among the latter there is nothing else to go by.
    """
    number, _ = number_and_run(path)
    if number:
        return (path.parent, number, False, 0.0, path.name)
    opening = list(_first_events(path, 3))  # a session's start is the second event
    goes_on = not any(event.session_log.status == SessionLog.START and event.step == 0 for event in opening)
    return (path.parent, 0, goes_on, opening[0].wall_time if opening else 0.0, path.name)


def own_and_foreign(directory: Path) -> tuple[list[Path], list[Path]]:
    """The event files in a directory: those that Limpet wrote, and all others.

    Args:
        directory: may be missing; directories in it are other runs and are not looked at.
    """
    files = {path: is_own(path) for path in sorted(directory.glob(PATTERN)) if path.is_file()}
    return [path for path, own in files.items() if own], [path for path, own in files.items() if not own]


def first_tags(path: Path) -> set[str]:
    """The tags among the first events of a file."""
    return {value.tag for event in _first_events(path) for value in event.summary.value}


def is_own(path: Path) -> bool:
    """Whether Limpet wrote an event file."""
    return path.name.endswith(SUFFIX) or any(
        value.metadata.plugin_data.plugin_name == PLUGIN_NAME or value.tag.startswith(OWN_TAGS)
        for event in _first_events(path)
        for value in event.summary.value
    )


def _first_events(path: Path, count: int = FIRST_EVENTS) -> Iterator[Event]:
    return islice(events_of(path, complain=lambda _: None), count)


_INFIX = PATTERN.strip("*")
_OWN_NAME = "events.out."
"""The names of event files begin so; a directory whose name merely contains the other word may be anybody's."""


def event_files(root: Path, complain: Callable[[str], object]) -> Iterator[Path]:
    """Every event file under a directory.

    A link that leads back to a directory above it is followed no further, because it would never end.

    Args:
        root: the directory under which event files are looked for, at any depth.
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
