"""Read files of every type; errors name the file and the row."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loratory.objectives.data.arrow_rows import read_arrow, read_parquet
from loratory.objectives.data.csv_rows import read_csv
from loratory.objectives.data.json_rows import read_json
from loratory.objectives.data.opening import data_suffix
from loratory.objectives.data.rows import BadRowError, RawRow
from loratory.spaces.data import BadRows
from loratory.spaces.errors import InputError

Numbered = Iterator[tuple[int, Any]]

READERS: dict[str, Callable[[Path, str], Numbered]] = {
    ".jsonl": read_json,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}


def read_file(path: Path, name: str, bad_rows: BadRows = BadRows.STOP) -> list[RawRow]:
    """Read all rows of a file, as `iterate_file` does."""
    return list(iterate_file(path, name, bad_rows))


def iterate_file(path: Path, name: str, bad_rows: BadRows = BadRows.STOP) -> Iterator[RawRow]:
    """Read the rows of a file, one by one.

    Args:
        path: path of the file.
        name: its name in messages.
        bad_rows: whether a row that cannot be read stops, or is returned with its problem.

    Raises:
        InputError: the file is missing, of an unknown type, damaged or empty, or a row cannot be read.
    """
    reader = READERS.get(data_suffix(path))
    if reader is None:
        raise InputError(f"{name}: must end in {', '.join(READERS)}, or one of these and .gz{_remedy(path)}")
    if not path.is_file():
        raise InputError(no_such_file(name))
    yield from as_raw_rows(reader(path, name), name, bad_rows)


def as_raw_rows(numbered: Numbered, name: str, bad_rows: BadRows) -> Iterator[RawRow]:
    """Return numbered rows as raw rows.

    Args:
        numbered: number and columns of each row, or a `BadRowError` in the place of the columns.
        name: name of the source in messages.
        bad_rows: whether a row that cannot be read stops, or is returned with its problem.

    Raises:
        InputError: there is no row, or a row cannot be read.
    """
    number = 0
    for number, fields in numbered:
        if isinstance(fields, dict):
            yield RawRow(file=name, number=number, fields=fields)
            continue
        bad = fields if isinstance(fields, BadRowError) else _no_object(fields, f"{name}, row {number}")
        if bad_rows is BadRows.STOP:
            raise InputError(f"{bad}; data.bad_rows: remove leaves such rows out")
        yield RawRow(file=name, number=number, fields=bad.content, problem=bad.rule)
    if number == 0:
        raise InputError(f"{name}: must hold rows, is empty")


def no_such_file(name: str) -> str:
    """Return the message about a missing file, or folder."""
    kind = "file" if data_suffix(name) in READERS else "file or folder"
    return f"{name}: no such {kind}; paths are relative to the folder you run in ({Path.cwd()})"


def _no_object(value: Any, place: str) -> BadRowError:
    rule = f"must be an object of columns, got {type(value).__name__}"
    return BadRowError(place, rule, {"value": value})


def _remedy(path: Path) -> str:
    return "; save the sheet as CSV" if path.suffix.lower() in (".xlsx", ".xls", ".ods") else ""
