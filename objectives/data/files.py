"""Read JSONL, JSON, CSV, TSV and Parquet files; errors name the file and the row."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loratory.objectives.data.rows import RawRow
from loratory.spaces.errors import InputError

Numbered = Iterator[tuple[int, Any]]


def read_file(path: Path, name: str) -> list[RawRow]:
    """Read all rows of a file.

    Args:
        path: path of the file.
        name: its name in messages.

    Raises:
        InputError: the file is missing, of an unknown type, damaged or empty.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{name}: must end in {', '.join(READERS)}")
    if not path.is_file():
        raise InputError(no_such_file(name))
    rows = [RawRow(file=name, number=n, fields=_object(f, name, n)) for n, f in reader(path, name)]
    if not rows:
        raise InputError(f"{name}: must hold rows, is empty")
    return rows


def no_such_file(name: str) -> str:
    """Return the message about a missing file."""
    return f"{name}: no such file; paths are relative to the folder you run in ({Path.cwd()})"


def _object(fields: Any, name: str, number: int) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise InputError(f"{name}, row {number}: must be an object of columns, got {type(fields).__name__}")
    return fields


def _jsonl(path: Path, name: str) -> Numbered:
    with path.open("rb") as file:
        # Only \n ends a row: str.splitlines would also cut at U+2028 and U+0085, which JSON allows in text.
        for number, line in enumerate(file, 1):
            text = _decode(line, f"{name}, row {number}")
            if text.strip():
                yield number, _parse(text, f"{name}, row {number}")


def _json(path: Path, name: str) -> Numbered:
    data = path.read_bytes()
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        yield from _jsonl(path, name)
    else:
        yield from enumerate(_parse(_decode_lines(data, name), name), 1)


def _parse(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: must be valid JSON: {error.msg} ({_where(error)})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: must be valid JSON: {error}") from error


def _where(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()):
        return "it ends too early"
    return f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}"


def _csv(path: Path, name: str, delimiter: str = ",") -> Numbered:
    csv.field_size_limit(sys.maxsize)
    text = _decode_lines(path.read_bytes(), name)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        header = next(reader, [])
        if len(set(header)) != len(header):
            raise InputError(f"{name}: columns must have names of their own, got {', '.join(header)}")
        for cells in filter(None, reader):
            number += 1
            if len(cells) != len(header):
                place = f"{name}, row {number} (line {reader.line_num})"
                raise InputError(f"{place}: must have {len(header)} cells, got {len(cells)}")
            yield number, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"{name}, row {number + 1}: must be valid CSV: {error}") from error


def _tsv(path: Path, name: str) -> Numbered:
    return _csv(path, name, delimiter="\t")


def _parquet(path: Path, name: str) -> Numbered:
    import pyarrow
    import pyarrow.parquet

    try:
        read = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            yield from enumerate(_records(batch, name, read), read + 1)
            read += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{name}: must be a Parquet file: {str(error).splitlines()[0]}") from error


def _records(batch: Any, name: str, read: int) -> list[dict[str, Any]]:
    try:
        records: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError as error:
        place = f"{name}, row {read + 1 + _first_undecodable(batch)}"
        raise InputError(_not_utf8(place, error)) from error
    return records


def _first_undecodable(batch: Any) -> int:
    for index in range(batch.num_rows):
        try:
            batch.slice(index, 1).to_pylist()
        except UnicodeDecodeError:
            return index
    return 0


def _decode_lines(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(_not_utf8(f"{name}, line {line}", error)) from error


def _decode(line: bytes, place: str) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(_not_utf8(place, error)) from error


def _not_utf8(place: str, error: UnicodeDecodeError) -> str:
    return (
        f"{place}: must be UTF-8, byte 0x{error.object[error.start]:02x} is not; convert the file with iconv"
    )


READERS: dict[str, Callable[[Path, str], Numbered]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
