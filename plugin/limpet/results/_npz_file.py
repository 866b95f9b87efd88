"""Reading arrays from an .npz file that may be damaged, foreign, or made to do harm. NumPy only.

`numpy.load` believes what a file says of itself: a header of a hundred bytes may ask for terabytes, and a damaged
member raises whatever the layer that stumbles raises. Here sizes are compared with the bytes that are there before any
memory is asked for, and all that can be wrong is one kind of error.
"""

import ast
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._errors import LimpetError

MAX_HEADER = 10_000
"""Bytes of an array's header; those of plain arrays have some 120."""
MAX_RATIO = 1032
"""Deflate writes no more than so many bytes for one."""
_CHUNK = 1 << 20
_DAMAGED = (OSError, EOFError, RuntimeError, LookupError, ValueError, ArithmeticError, struct.error, zlib.error)
"""What the readers below raise, beside their own errors, on bytes that are not what they take them for."""


def arrays_of(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name.

    Args:
        path: of a file that `numpy.savez` or `numpy.savez_compressed` wrote.

    Raises:
        LimpetError: the file is missing, no .npz of arrays, or damaged. The message does not name the path.
    """
    file = Path(path)
    try:
        if not file.is_file():  # a pipe would be waited for
            raise LimpetError("it is no file" if file.exists() else "there is no such file")
        with file.open("rb") as opened, zipfile.ZipFile(opened) as archive:
            opened_size = file.stat().st_size
            names = [member.filename for member in archive.infolist()]
            if strays := [name for name in names if not name.endswith(".npy")]:
                raise LimpetError(f"'{strays[0][:80]}' is no array; save arrays by numpy.savez")
            if len(set(names)) < len(names):
                raise LimpetError("two of its arrays have one name")
            arrays = {}
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                try:
                    arrays[name] = _array(archive, member, opened_size)
                except LimpetError as error:
                    raise LimpetError(f"'{name[:80]}': {error}") from None
            return arrays
    except LimpetError:
        raise
    except zipfile.BadZipFile as error:
        raise LimpetError(f"it is no .npz file, or a damaged one ({_line(error)})") from None
    except MemoryError:
        raise LimpetError("it holds more than the memory") from None
    except _DAMAGED as error:
        raise LimpetError(f"it is damaged ({_line(error)})") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, archive_size: int) -> np.ndarray:
    if member.flag_bits & 1:
        raise LimpetError("is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LimpetError("is compressed in a way that numpy.savez does not use")
    if member.compress_size > archive_size or member.file_size > member.compress_size * MAX_RATIO:
        raise LimpetError("is said to be larger than it can be")
    with archive.open(member) as stream:
        dtype, shape, in_rows, header_size = _header(stream)
        held = member.file_size - header_size
        if math.prod(shape) * dtype.itemsize != held:
            raise LimpetError(f"its header says shape {shape} of {dtype}, which are not the {held} bytes that it holds")
        flat = np.empty(math.prod(shape), dtype)
        target, place = flat.view(np.uint8) if flat.size else np.empty(0, np.uint8), 0
        # Reading on to the end, where nothing is left, compares the checksum.
        while chunk := stream.read(_CHUNK):
            if place + len(chunk) > held:
                raise LimpetError("holds more bytes than it says")
            target[place : place + len(chunk)] = np.frombuffer(chunk, np.uint8)
            place += len(chunk)
    if place < held:
        raise LimpetError("is cut short")
    return flat.reshape(shape, order="C" if in_rows else "F")


def _header(stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Type and shape of an array, whether it lies row by row, and how many bytes its header takes."""
    magic = stream.read(8)
    length_size = {b"\x93NUMPY\x01": 2, b"\x93NUMPY\x02": 4, b"\x93NUMPY\x03": 4}.get(magic[:7])
    if len(magic) < 8 or length_size is None:
        raise LimpetError("is no array as numpy.savez writes it")
    length = int.from_bytes(stream.read(length_size), "little")
    if length > MAX_HEADER:
        raise LimpetError(f"has a header of {length:,} bytes; those of arrays have {MAX_HEADER:,} at most")
    text = stream.read(length)
    try:
        header = ast.literal_eval(text.decode("utf-8" if magic[6] == 3 else "latin1"))
        dtype, shape, in_columns = (
            np.lib.format.descr_to_dtype(header["descr"]),
            header["shape"],
            header["fortran_order"],
        )
    except Exception as error:  # Python and NumPy parse it, which fails in many ways on what is none
        raise LimpetError(f"has a header that cannot be read ({_line(error)})") from None
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise LimpetError(f"has the shape {str(shape)[:80]}, which no array has")
    if dtype.hasobject:
        raise LimpetError("holds Python objects, which are not read; save arrays of numbers")
    if dtype.itemsize == 0:
        raise LimpetError("holds values of no size")
    return dtype, shape, not in_columns, 8 + length_size + length


def _line(error: BaseException) -> str:
    """What an error says, in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
