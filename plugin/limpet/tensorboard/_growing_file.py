"""An event file while it is written: its name and number follow those that lie there, and it grows by whole events."""

import errno
import os
import re
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from operator import itemgetter
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata  # pyright: ignore[reportAttributeAccessIssue]

from ._event_files import PATTERN, SUFFIX, number_and_run, written_as
from ._records import record_of

VERSION = "brain.Event:2"
"""What an event file begins with; readers go by session starts only where they find it."""
STAMP = re.compile(r"events\.out\.tfevents\.(\d{10})\.")
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

_uids = count()  # tells apart the files that one process begins in one second


class GrowingFile:
    """A new event file in a directory, after all those that lie there.

    TensorBoard reads the files of a directory in the order of their names, and what a run logs anew after it was
    resumed must come after what it replaces. By convention the names begin with the time. A clock may be set back, and
    two files may be begun in one second; so here that number is the time or, where that is not enough, one more than
    the largest that is there. Readers of Limpet's own go by a number that stands in the file's first event, which
    stays what it is when files are copied or renamed.

    Why not TensorBoard's own EventFileWriter: it chooses the name by the clock; it opens the file anew, by its name,
    for every event, so that a run whose files another run has set aside would go on in the directory of that other
    one; and where the disk is full, its thread dies with a traceback, and leaves half a record.

    Args:
        directory: the directory of the run, which exists already.
        run: the name of the run that it is part of; None for that which the directory holds, or a new one.

    Attributes:
        run: the name of the run, by which its files are told from those of other runs; None for a new run.
        path: the path of the file when it was begun.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, directory: Path, run: str | None) -> None:
        number, stamp, held = _next_number_and_stamp(directory)
        self.run = run or held or uuid.uuid4().hex
        self.path, self._descriptor = _created(directory, stamp)
        self._size = 0  # of what was handed over and is whole
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, os.close, self._descriptor)
        metadata = SourceMetadata(writer=written_as(number, self.run))
        try:
            self.add([Event(wall_time=time.time(), file_version=VERSION, source_metadata=metadata)])
        except OSError:
            self.abandon()
            self.path.unlink(missing_ok=True)  # an empty file would count as an earlier run
            raise

    def add(self, events: Iterable[Event]) -> None:
        """Append some events: all of them or, if this is an error or interrupted, none.

        Raises:
            OSError: the disk is full, the file was removed, and the like.
        """
        records = b"".join(record_of(event.SerializeToString()) for event in events)
        with self._lock:
            self._append(records)

    def check(self) -> None:
        """Refuse to go on where the file is no more: what is written to a removed file is lost without an error.

        Raises:
            OSError: it was closed or removed.
        """
        if not self._finalizer.alive:
            raise OSError(errno.EBADF, "it was closed")
        # A file that was moved is still there: the files of a run that goes on may have been set aside.
        if os.fstat(self._descriptor).st_nlink == 0 and not self.path.exists():
            raise OSError(errno.ENOENT, "its event file was removed, and what it held with it")

    def close(self) -> None:
        """End the file.

        Raises:
            OSError: the file was removed, or what was written did not get there (network file systems say so here).
        """
        if self._finalizer.alive:
            try:
                self.check()
            finally:
                self._finalizer.detach()
                os.close(self._descriptor)

    def abandon(self) -> None:
        """End the file, whatever became of it."""
        with suppress(OSError):
            self.close()

    def _append(self, data: bytes) -> None:
        self.check()
        self._cut()  # what an interrupted call left
        os.lseek(self._descriptor, self._size, os.SEEK_SET)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            self._cut()
            raise
        # The last statement, so that a call that is interrupted before may be made again and writes nothing twice.
        self._size += len(data)

    def _cut(self) -> None:
        """Cut off half a record, after which readers would find nothing."""
        if os.fstat(self._descriptor).st_size > self._size:
            os.ftruncate(self._descriptor, self._size)


def _next_number_and_stamp(directory: Path) -> tuple[int, int, str | None]:
    """The number of the next file of a directory, the number that its name begins with, and the run that lies there."""
    paths = [path for path in directory.glob(PATTERN) if path.is_file()]
    stamps = [int(found[1]) for path in paths if (found := STAMP.match(path.name))]
    number, run = max((number_and_run(path) for path in paths), key=itemgetter(0), default=(0, None))
    return number + 1, max([int(time.time()), *(stamp + 1 for stamp in stamps)]), run


def _created(directory: Path, stamp: int) -> tuple[Path, int]:
    """A file that was not there before, and its descriptor."""
    for later in count(stamp):
        name = f"events.out.tfevents.{later:010d}.{socket.gethostname()}.{os.getpid()}.{next(_uids)}{SUFFIX}"
        try:
            return directory / name, os.open(directory / name, FLAGS, 0o666)
        except FileExistsError:
            continue  # another process, of another machine of that name
    raise AssertionError("numbers do not end")
