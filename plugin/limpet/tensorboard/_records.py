"""The records of an event file: each a length, the data, and a checksum of either.

TensorBoard's own reader computes the checksum in Python, byte by byte, which takes most of the time that reading a log
takes; and it asks for as much memory as a record says it is long.
"""

import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
"""Of CRC-32C, its bits reversed."""
_BLOCK = 1024
_MASK_DELTA = 0xA282EAD8
_BITS = 0xFFFFFFFF


class DamagedRecordError(Exception):
    """A record that is cut short, or does not have its checksum: where the next one begins is not known."""


def records_of(path: Path) -> Iterator[bytes]:
    """The data of a file's records, one after another.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
        DamagedRecordError: a record is damaged; those before it were given.
    """
    with path.open("rb") as file:
        while header := file.read(12):
            if len(header) < 12:
                raise DamagedRecordError("a record's length is cut short")
            length, checksum = struct.unpack("<QI", header)
            if masked_checksum(header[:8]) != checksum:
                raise DamagedRecordError("a record's length does not have its checksum")
            if length + 4 > os.fstat(file.fileno()).st_size - file.tell():
                raise DamagedRecordError("a record is cut short")
            data, end = file.read(length), file.read(4)
            if len(data) < length or len(end) < 4:
                raise DamagedRecordError("a record is cut short")
            if masked_checksum(data) != int.from_bytes(end, "little"):
                raise DamagedRecordError("a record does not have its checksum")
            yield data


def masked_checksum(data: bytes) -> int:
    """The checksum as event files store it: CRC-32C, rotated and shifted.

    Examples:
        >>> hex(masked_checksum(b"123456789"))  # its CRC-32C is 0xe3069283
        '0xc78ab0e5'
    """
    checksum = _crc32c(data)
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & _BITS


def _crc32c(data: bytes) -> int:
    """CRC-32C, a block at a time.

    The register after a block is the exclusive or of what each of its bytes contributes, which a table tells by the
    byte's value and its distance from the end; what the register held before counts as added to the first four bytes.
    """
    table, register = _contributions(), _BITS
    if len(data) <= 16:  # a record's length: NumPy would take longer to begin than the loop takes
        for byte in data:
            register = (register >> 8) ^ int(table[0, (register ^ byte) & 0xFF])
        return register ^ _BITS
    for start in range(0, len(data), _BLOCK):
        block = np.frombuffer(data, np.uint8, min(_BLOCK, len(data) - start), start).copy()
        ahead = min(4, len(block))
        block[:ahead] ^= np.frombuffer(register.to_bytes(4, "little"), np.uint8)[:ahead]
        distances = np.arange(len(block) - 1, -1, -1)
        register = (register >> 8 * ahead) ^ int(np.bitwise_xor.reduce(table[distances, block]))
    return register ^ _BITS


@cache
def _contributions() -> NDArray[np.uint32]:
    """What a byte adds to the register, shape (distance from the end, value of the byte)."""
    step = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        step = (step >> 1) ^ np.where(step & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    table = np.empty((_BLOCK, 256), np.uint32)
    table[0] = step
    for distance in range(1, _BLOCK):
        table[distance] = step[table[distance - 1] & 0xFF] ^ (table[distance - 1] >> 8)
    return table
