"""Files that a user names: the path that a name stands for, and files that are written as a whole."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from ._errors import LimpetError, LogdirError

_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")


def expanded(name: str | Path) -> str:
    """A name in which `~` stands for the home directory, and `$NAME` and `${NAME}` for environment variables.

    A shell does that with most of what is typed, but not with `--logdir=~/runs`, and not in a configuration. A name
    under which there is a file stays as it is.

    Args:
        name: the name of a file or a directory.

    Raises:
        LimpetError: there is no such variable, or no such user; nothing is called `$NAME` by mistake.

    Examples:
        >>> expanded("~/runs") == str(Path.home() / "runs")
        True
        >>> expanded("$SCRTACH/runs")
        Traceback (most recent call last):
        limpet.LimpetError: $SCRTACH/runs: there is no environment variable SCRTACH; set it, or write the path out
    """
    text = os.fspath(name)
    if os.path.lexists(text):
        return text
    names = [found.strip("{}") for found in _VARIABLE.findall(text)]
    if unknown := [found for found in names if found not in os.environ]:
        raise LimpetError(f"{text}: there is no environment variable {unknown[0]}; set it, or write the path out")
    whole = os.path.expanduser(text)
    user, separator, _ = whole.partition(os.sep)
    if separator and user.startswith("~"):
        raise LimpetError(f"{text}: there is no user {user[1:]}; a directory of that name is written ./{user}")
    return os.path.expandvars(whole)


def path_of(name: str | Path) -> Path:
    """The path that a name stands for; see `expanded`."""
    return Path(expanded(name))


@contextmanager
def whole_file(name: str | Path) -> Iterator[BinaryIO]:
    """Write a file beside the one that it replaces, and put it in its place once it is whole.

    So a full disk, an interrupt or a kill leaves what was there before: the earlier file, or none. What is no regular
    file (/dev/stdout, a pipe) is written as it is; a link stays a link.

    Args:
        name: the name of the file; see `expanded`.

    Yields:
        What to write the content to, as bytes.

    Raises:
        OSError: it cannot be written; names the file as the user did.
    """
    path = path_of(name)
    try:
        if _is_special(path):
            with path.open("wb") as file:
                yield file
            return
        final = Path(os.path.realpath(path))
        unfinished = final.with_name(f"{final.name[:60]}.{uuid4().hex[:12]}")
        try:
            with unfinished.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # some file systems say only now that there is no room
            with suppress(OSError):
                unfinished.chmod(final.stat().st_mode)
            os.replace(unfinished, final)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(name)) from None


def write_text(name: str | Path, text: str) -> None:
    """Write a text as a whole file, see `whole_file`; its directory is made if need be.

    Args:
        name: the name of the file; see `expanded`.
        text: its content.

    Raises:
        LogdirError: it cannot be written.
    """
    try:
        path_of(name).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(name) as file:
            file.write(text.encode())
    except OSError as error:
        raise LogdirError(f"{name}: cannot be written ({error.strerror or error}); name a file you may write") from None


def _is_special(path: Path) -> bool:
    """Whether something is there that must not be replaced: a device, a pipe, what a shell has opened already."""
    return (path.exists() and not path.is_file()) or os.path.abspath(path).startswith("/dev/")
