"""The event files of a directory: reading one up to where it is damaged, and telling Limpet's own from foreign ones."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

from ._curve_summary import PLUGIN_NAME
from ._records import DamagedRecordError, records_of

SUFFIX = ".limpet"
"""The names of Limpet's event files end so."""
PATTERN = "*tfevents*"
"""The names that TensorBoard takes for those of event files."""
FIRST_EVENTS = 500
"""Of so many events, one tells whether Limpet wrote a file; nobody waits until a file of gigabytes is read."""
OWN_TAGS = ("limpet/config", "mismatch/sigma_", "robustness_mean/")
"""The first version gave its files no suffix; tags that begin so are its first ones."""


def events_of(path: Path, complain: Callable[[str], object]) -> Iterator[Event]:
    """The events of a file, up to where it is damaged.

    Args:
        path: the event file.
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


def in_order(path: Path) -> tuple[Path, float, str]:
    """By what event files are sorted: by directory, and there by when each was begun.

    Their names begin with that time, but in whole seconds, and a run may be resumed within one.
    """
    first = next(events_of(path, complain=lambda _: None), None)
    return path.parent, (first.wall_time if first is not None else 0.0), path.name


def own_and_foreign(directory: Path) -> tuple[list[Path], list[Path]]:
    """The event files in a directory: those that Limpet wrote, and all others.

    Args:
        directory: may be missing; directories in it are other runs and are not looked at.
    """
    own, foreign = [], []
    for path in sorted(directory.glob(PATTERN)):
        if path.is_file():
            (own if _is_own(path) else foreign).append(path)
    return own, foreign


def first_tags(path: Path) -> set[str]:
    """The tags among the first events of a file."""
    return {value.tag for event in _first_events(path) for value in event.summary.value}


def _is_own(path: Path) -> bool:
    return path.name.endswith(SUFFIX) or any(
        value.metadata.plugin_data.plugin_name == PLUGIN_NAME or value.tag.startswith(OWN_TAGS)
        for event in _first_events(path)
        for value in event.summary.value
    )


def _first_events(path: Path) -> Iterator[Event]:
    return islice(events_of(path, complain=lambda _: None), FIRST_EVENTS)
