"""Open data files as bytes or as text: compression and character encoding are seen in their first bytes."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from loratory.spaces.errors import InputError

COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
"""Endings that may follow that of a type, as in `rows.jsonl.gz`."""

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError)
# The bytes that are not UTF-8, as the error handler surrogateescape keeps them in text.
_ESCAPED = re.compile("[\udc80-\udcff]")


def data_suffix(name: str | Path) -> str:
    """Return the ending that names a file's type, in lower case and without that of its compression."""
    path = Path(name)
    return Path(path.stem).suffix.lower() if path.suffix.lower() in COMPRESSIONS else path.suffix.lower()


@contextmanager
def open_bytes(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file, decompressed if its first bytes say that it is compressed.

    Args:
        path: path of the file.
        name: its name in messages.

    Raises:
        InputError: the compressed data is damaged; raised while reading, too.
    """
    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
        try:
            yield cast(IO[bytes], _decompressed(file, kind)) if kind else file
        except _DAMAGED as error:
            raise InputError(f"{name}: must be a whole {kind} file: {error}") from error
        except OSError as error:
            # gzip, bz2 and pyarrow raise plain OSErrors without a number for damaged data.
            if kind is None or error.errno:
                raise
            raise InputError(f"{name}: must be a whole {kind} file: {error}") from error


def _decompressed(file: IO[bytes], kind: str) -> io.BufferedIOBase:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=file)
    if kind == "bzip2":
        return bz2.BZ2File(file)
    if kind == "xz":
        return lzma.LZMAFile(file)
    import pyarrow

    return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(file), kind))


@contextmanager
def open_text(path: Path, name: str, *, newline: str) -> Iterator[IO[str]]:
    """Open a text file: UTF-8, or UTF-16 as Excel and PowerShell write it.

    Bytes that are not UTF-8 stay in the text, for `undecodable` to find.

    Args:
        path: path of the file.
        name: its name in messages.
        newline: as in `open`; lines keep their ends.

    Raises:
        InputError: the file is compressed or UTF-16, and damaged; raised while reading, too.
    """
    with open_bytes(path, name) as file:
        buffered = file if hasattr(file, "peek") else io.BufferedReader(cast(io.RawIOBase, file))
        encoding = _encoding(buffered.peek(4)[:4])
        errors = "strict" if encoding.startswith("utf-16") else "surrogateescape"
        with io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline=newline) as text:
            try:
                yield text
            except UnicodeDecodeError as error:
                raise InputError(f"{name}: must be UTF-8 or UTF-16: {error.reason}") from error


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Text begins with a character of ASCII here: a brace, a quote, or the name of a column.
    if head[1:2] == b"\0" != head[:1]:
        return "utf-16-le"
    if head[:1] == b"\0" != head[1:2]:
        return "utf-16-be"
    return "utf-8-sig"


def undecodable(text: str) -> str | None:
    """Return the rule that a line breaks which is not UTF-8, or None."""
    if text.isascii():
        return None
    found = _ESCAPED.search(text)
    return not_utf8(ord(found.group()) - 0xDC00) if found else None


def not_utf8(byte: int) -> str:
    """Return the message about a byte that is not UTF-8."""
    return f"must be UTF-8, byte 0x{byte:02x} is not; convert the file with iconv"


def readable(text: str) -> str:
    """Return text for removed.jsonl; bytes that are not UTF-8 become escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").rstrip("\r\n")
