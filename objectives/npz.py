"""Reading npz archives of many small arrays, several times as fast as `np.load` does it."""

import io
import struct
import zipfile
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SUFFIX = ".npy"
_LOCAL = struct.Struct("<4s22xHH")
"""Header in front of a member: signature, then the lengths of its name and of what follows that."""
_ENCRYPTED = 1
_MAGIC_BYTES = 8
"""`\\x93NUMPY` and two bytes of the version."""


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz archive by name, without pickles.

    `np.load` reads each array in several pieces and parses its header as Python. The arrays of a study have
    few distinct headers, so each is parsed once.

    Args:
        data: the archive.

    Raises:
        zipfile.BadZipFile: it is damaged.
        ValueError: it holds something else than arrays of plain numbers.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(_SUFFIX)]
        return {m.filename.removesuffix(_SUFFIX): _array(_content(data, archive, m)) for m in members}


def _content(data: bytes, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return an array's file; `archive.read` takes three times as long, for it reads in pieces."""
    if member.compress_type != zipfile.ZIP_DEFLATED or member.flag_bits & _ENCRYPTED:
        return archive.read(member)
    head = data[member.header_offset : member.header_offset + _LOCAL.size]
    try:
        signature, name_bytes, extra_bytes = _LOCAL.unpack(head)
        start = member.header_offset + _LOCAL.size + name_bytes + extra_bytes
        content = zlib.decompress(data[start : start + member.compress_size], -zlib.MAX_WBITS)
    except (struct.error, zlib.error) as error:
        raise zipfile.BadZipFile(f"{member.filename}: {error}") from error
    if signature != b"PK\x03\x04" or zlib.crc32(content) != member.CRC:
        raise zipfile.BadZipFile(f"{member.filename}: its checksum is of other bytes")
    return content


def _array(content: bytes) -> NDArray[Any]:
    if content[:_MAGIC_BYTES] != b"\x93NUMPY\x01\x00":
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    start = _MAGIC_BYTES + 2 + int.from_bytes(content[_MAGIC_BYTES : _MAGIC_BYTES + 2], "little")
    shape, fortran, dtype = _header(content[_MAGIC_BYTES:start])
    if fortran or dtype.hasobject:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return np.frombuffer(content, dtype=dtype, offset=start).reshape(shape).copy()


@lru_cache(maxsize=256)
def _header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = np.lib.format.read_array_header_1_0(
        io.BytesIO(header)
    )
    return found
