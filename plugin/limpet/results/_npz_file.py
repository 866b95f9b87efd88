"""Arrays in .npz files, which may be damaged, foreign, or made to do harm. NumPy only.

`numpy.load` believes what a file says of itself: a header of a hundred bytes may ask for terabytes. So each header is
first compared with the bytes that its member holds, and whatever then goes wrong becomes one kind of error.
"""

import json
import math
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._errors import LimpetError
from .._files import path_of, whole_file

MAX_RATIO = 1032
"""The largest number of bytes that the deflate algorithm makes of one."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def arrays_of(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name.

    Args:
        path: a file that `numpy.savez`, `numpy.savez_compressed` or `write_arrays` wrote.

    Raises:
        LimpetError: the file is missing, no .npz of arrays, or damaged. The message does not name the path.
    """
    name = ""
    try:
        file = path_of(path)
        if not file.is_file():  # a pipe would be waited for
            raise LimpetError("it is no file" if file.exists() else "there is no such file")
        arrays: dict[str, np.ndarray] = {}
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name == member.filename or name in arrays:
                    raise LimpetError("is no array, or the second one of that name; save arrays by numpy.savez")
                arrays[name] = _array(archive, member, file.stat().st_size)
        return arrays
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds where bytes are not what they expect
        place = f"'{name[:80]}': " if name else ""
        said = "" if isinstance(error, LimpetError) else f"is no .npz, or damaged: {type(error).__name__}: "
        raise LimpetError(" ".join(f"{place}{said}{error}".split())[:300]) from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, archive_size: int) -> np.ndarray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LimpetError("is compressed in a way that numpy.savez does not use")
    if member.compress_size > archive_size or member.file_size > member.compress_size * MAX_RATIO:
        raise LimpetError("is said to be larger than it can be")
    with archive.open(member) as stream:
        shape, _, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
        held = member.file_size - stream.tell()
    if dtype.hasobject:
        raise LimpetError("it holds Python objects, which are not read; save arrays of numbers")
    if min(shape, default=0) < 0 or not dtype.itemsize or math.prod(shape) * dtype.itemsize != held:
        raise LimpetError(f"its header says shape {shape} of {dtype}, which are not the {held} bytes that it holds")
    with archive.open(member) as stream:  # which compares the checksum at its end
        return np.lib.format.read_array(stream, allow_pickle=False)


def write_arrays(
    path: str | Path, arrays: Mapping[str, ArrayLike], comment: Mapping[str, Any] | None = None, compressed: bool = True
) -> None:
    """Write arrays as .npz. A file that is there is replaced once the new one is whole.

    Args:
        path: the file's name, which ends in .npz.
        arrays: arrays by name. `numpy.savez` takes names as keywords, and so could write none called `file`.
        comment: plain values that are written as the archive's comment, as JSON.
        compressed: whether the arrays are compressed.

    Raises:
        LimpetError: the name does not end in .npz.
        OSError: the file cannot be written.
    """
    if Path(path).suffix != ".npz":
        raise LimpetError(f"{path}: give a name that ends in .npz")
    packing = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with whole_file(path) as file, zipfile.ZipFile(file, "w", packing) as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)
        archive.comment = json.dumps(comment).encode() if comment else b""


def write_described(path: str | Path, described: Mapping[str, Any], arrays: Collection[str]) -> None:
    """Write a description as .npz: some of its values as arrays, the others as JSON. Errors as of `write_arrays`.

    Args:
        path: the file's name, which ends in .npz.
        described: the values by name, plain ones and arrays.
        arrays: the names of those that are arrays.
    """
    plain = {name: value for name, value in described.items() if name not in arrays}
    held = {name: np.asarray(described[name], np.float64) for name in arrays}
    write_arrays(path, {**held, "described": np.array(json.dumps(plain))})


def described_of(path: str | Path) -> dict[str, Any]:
    """The description that `write_described` wrote.

    Raises:
        LimpetError: as of `arrays_of`.
        ValueError: what stands beside the arrays is no JSON.
    """
    arrays = arrays_of(path)
    return {**json.loads(str(arrays.pop("described", "{}"))), **arrays}
