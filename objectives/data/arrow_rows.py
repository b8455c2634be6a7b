"""Rows of Parquet and Arrow files, with class labels by name and JSON columns as values."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from loratory.objectives.data.opening import not_utf8, open_bytes
from loratory.objectives.data.rows import BadRowError
from loratory.spaces.errors import InputError

BATCH_ROWS = 1000
_Change = Callable[[Any], Any]


def read_parquet(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    """Read the rows of a Parquet file.

    Yields:
        Number and columns of each row; a `BadRowError` in the place of the columns where text is not UTF-8.

    Raises:
        InputError: the file is damaged or of another type.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with open_bytes(path, name) as file:
            parquet = pyarrow.parquet.ParquetFile(file)
            yield from numbered(parquet.iter_batches(BATCH_ROWS), name, label_names(parquet.schema_arrow))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{name}: must be a Parquet file: {_first_line(error)}") from error


def read_arrow(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    """Read the rows of an Arrow file: the stream that `datasets` writes, or the file format (Feather).

    Yields:
        Number and columns of each row; a `BadRowError` in the place of the columns where text is not UTF-8.

    Raises:
        InputError: the file is damaged or of another type.
    """
    import pyarrow
    import pyarrow.ipc

    try:
        with open_bytes(path, name) as file:
            magic = file.read(6)
            file.seek(0)
            if magic == b"ARROW1":
                reader = pyarrow.ipc.open_file(file)
                batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
            else:
                reader = batches = pyarrow.ipc.open_stream(file)
            yield from numbered(batches, name, label_names(reader.schema))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{name}: must be an Arrow file: {_first_line(error)}") from error


def numbered(
    batches: Any, name: str, labels: dict[str, list[str]], numbers: Iterator[int] | None = None
) -> Iterator[tuple[int, Any]]:
    """Return the rows of record batches.

    Args:
        batches: record batches or tables of one schema.
        name: of the source in messages.
        labels: names of class labels by column.
        numbers: of the rows; None: from 1.
    """
    numbers = count(1) if numbers is None else numbers
    for batch in batches:
        changes = _changes(batch.schema, labels)
        for fields in _records(batch):
            number = next(numbers)
            if isinstance(fields, UnicodeDecodeError):
                byte = fields.object[fields.start]
                yield number, BadRowError(f"{name}, row {number}", not_utf8(byte))
                continue
            for column, change in changes:
                fields[column] = change(fields[column])
            yield number, fields


def label_names(schema: Any) -> dict[str, list[str]]:
    """Return the names of the class labels that `datasets` keeps in the metadata of a schema, by column."""
    kept = (schema.metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(kept).get("info", {}).get("features", {})
    kinds = {column: kind for column, kind in features.items() if isinstance(kind, dict)}
    return {column: kind["names"] for column, kind in kinds.items() if kind.get("_type") == "ClassLabel"}


def _records(batch: Any) -> Iterator[Any]:
    """Return the rows of a batch, where a row that is not UTF-8 is replaced by its error."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for index in range(batch.num_rows):
        try:
            yield from batch.slice(index, 1).to_pylist()
        except UnicodeDecodeError as error:
            yield error


def _changes(schema: Any, labels: dict[str, list[str]]) -> list[tuple[str, _Change]]:
    """Return what must be done with the values of columns: labels get names, JSON is read, nulls go."""
    changes: list[tuple[str, _Change]] = []
    for field in schema:
        kind = str(field.type)
        if field.name in labels:
            changes.append((field.name, _naming(labels[field.name])))
        elif any(part in kind for part in ("arrow.json", "list<", "map<")):
            changes.append((field.name, partial(_column, field.type)))
    return changes


def _naming(names: list[str]) -> _Change:
    return lambda label: names[label] if isinstance(label, int) and 0 <= label < len(names) else label


def _column(kind: Any, value: Any) -> Any:
    """Return a column's value with its JSON read, and the objects of its lists without nulls."""
    if isinstance(value, dict):
        return {key: _column(kind.field(key).type, item) for key, item in value.items()}
    return _value(kind, value)


def _value(kind: Any, value: Any) -> Any:
    """Return a value with its JSON read, and its objects without nulls.

    Arrow gives all objects of a column the keys of all: those that an object lacks are null.
    """
    if isinstance(value, list):
        if str(kind).startswith("map<"):  # to_pylist gives pairs
            return {key: _value(kind.item_type, item) for key, item in value}
        return [_value(kind.value_type, item) for item in value]
    if isinstance(value, dict):
        return {key: _value(kind.field(key).type, item) for key, item in value.items() if item is not None}
    return json.loads(value) if isinstance(value, str) and "arrow.json" in str(kind) else value


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]
