"""Reading npz archives of many small arrays, several times as fast as `np.load` does it."""

import io
import zipfile
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SUFFIX = ".npy"
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
        names = [name for name in archive.namelist() if name.endswith(_SUFFIX)]
        try:
            return {name.removesuffix(_SUFFIX): _array(archive.read(name)) for name in names}
        except zlib.error as error:
            raise zipfile.BadZipFile(str(error)) from error


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
