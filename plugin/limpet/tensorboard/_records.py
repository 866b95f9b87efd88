"""The records of an event file: each a length, the data, and a checksum of either.

TensorBoard's own reader and writer compute the checksum in Python, byte by byte, which takes most of the time that
reading or writing a log takes; and the reader asks for as much memory as a record says it is long.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c


class DamagedRecordError(Exception):
    """A record that is cut short, or does not have its checksum: where the next one begins is not known."""


def records_of(path: Path) -> Iterator[bytes]:
    """The data of a file's records, one after another.

    Args:
        path: the event file, which may still grow while it is read.

    Raises:
        OSError: it cannot be read.
        DamagedRecordError: a record is damaged; those before it were given.
    """
    with path.open("rb") as file:
        place = size = 0

        def checked(length: int, what: str) -> bytes:
            nonlocal place, size
            place += length + 4
            if place > size and place > (size := os.fstat(file.fileno()).st_size):  # it may have grown
                raise DamagedRecordError(f"{what} is cut short")
            data, checksum = file.read(length), file.read(4)
            if masked_checksum(data) != int.from_bytes(checksum, "little"):
                raise DamagedRecordError(f"{what} does not have its checksum")
            return data

        while place < size or place < os.fstat(file.fileno()).st_size:
            (length,) = struct.unpack("<Q", checked(8, "a record's length"))
            yield checked(length, "a record")


def record_of(data: bytes) -> bytes:
    """A record that holds some data."""
    length = struct.pack("<Q", len(data))
    checksums = [masked_checksum(part).to_bytes(4, "little") for part in (length, data)]
    return b"".join([length, checksums[0], data, checksums[1]])


def masked_checksum(data: bytes) -> int:
    """The checksum as event files store it: CRC-32C, rotated and shifted.

    Examples:
        >>> hex(masked_checksum(b"123456789"))  # its CRC-32C is 0xe3069283
        '0xc78ab0e5'
    """
    checksum = google_crc32c.value(data)
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF
