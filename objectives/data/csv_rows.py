"""Rows of CSV and TSV files, as spreadsheets, pandas and others write them."""

import csv
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from loratory.objectives.data.opening import data_suffix, open_text, readable, undecodable
from loratory.objectives.data.rows import BadRowError
from loratory.spaces.errors import InputError

_DELIMITERS = (",", ";", "\t", "|")
# Lines that are read to choose the delimiter.
_HEAD_LINES = 100
_DECLARATION = re.compile(r'"?sep=(.)"?[\r\n]*$')


def read_csv(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    """Read the records of a CSV or TSV file; the first is the header.

    The delimiter is that of a line `sep=;`, else the comma (for .tsv the tab), else the semicolon, tab or bar
    that divides header and first record alike.

    Args:
        path: path of the file.
        name: its name in messages.

    Yields:
        Number and cells of each record; a `BadRowError` in the place of the cells where it cannot be read.

    Raises:
        InputError: two columns have one name, or the header cannot be read.
    """
    csv.field_size_limit(sys.maxsize)
    with open_text(path, name, newline="") as file:
        head = list(islice(file, _HEAD_LINES))
        declared = _DECLARATION.match(head[0]) if head else None
        delimiter = declared[1] if declared else _delimiter(head, data_suffix(name))
        lines = _Lines(chain(head, file))
        if declared:
            next(iter(lines))
        spaced = _is_spaced(head[bool(declared) :], delimiter)
        yield from _records(lines, delimiter, name, spaced=spaced)


class _Lines:
    """Passes on the lines of a file, and keeps those of the record that is being read.

    Attributes:
        number: of the last line.
        record: lines since `end_record`.
        rule: what is wrong with the first line of the record that is not UTF-8, or None.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.number = 0
        self.record: list[str] = []
        self.rule: str | None = None

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            self.record.append(line)
            self.rule = self.rule or undecodable(line)
            yield line

    def end_record(self) -> None:
        """Begin a new record."""
        self.record, self.rule = [], None

    def bad_row(self, place: str, rule: str) -> BadRowError:
        """Return the record as a row that cannot be read."""
        return BadRowError(place, rule, {"text": readable("".join(self.record))})


def _records(lines: _Lines, delimiter: str, name: str, *, spaced: bool) -> Iterator[tuple[int, Any]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced)
    header = _header(reader, lines, name)
    number = 0
    while True:
        lines.end_record()
        place = f"{name}, row {number + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            number += 1
            yield number, lines.bad_row(place, f"must be valid CSV: {error}")
            continue
        if cells is None:
            return
        if cells:
            number += 1
            yield number, _fields(header, cells, lines, name=name, place=place)


def _header(reader: Iterator[list[str]], lines: _Lines, name: str) -> list[str]:
    """Return the names of the columns, without empty ones at the end, which spreadsheets write."""
    try:
        header = [cell.strip() for cell in next(filter(None, reader), [])]
    except csv.Error as error:
        raise InputError(f"{name}, header: must be valid CSV: {error}") from error
    if lines.rule:
        raise InputError(f"{name}, line {lines.number}: {lines.rule}")
    while header and not header[-1]:
        del header[-1]
    if len(set(header)) != len(header):
        raise InputError(f"{name}: columns must have names of their own, got {', '.join(header)}")
    return header


def _fields(header: list[str], cells: list[str], lines: _Lines, *, name: str, place: str) -> Any:
    if lines.rule:
        return lines.bad_row(f"{name}, line {lines.number}", lines.rule)
    if len(cells) > len(header) and not any(cells[len(header) :]):
        del cells[len(header) :]
    if len(cells) != len(header):
        rule = f"must have {len(header)} cells, got {len(cells)}"
        return lines.bad_row(f"{place} (line {lines.number})", rule)
    return dict(zip(header, cells, strict=True))


def _delimiter(head: list[str], suffix: str) -> str:
    usual = "\t" if suffix == ".tsv" else ","
    order = (usual, *(delimiter for delimiter in _DELIMITERS if delimiter != usual))
    sizes = {delimiter: _sizes(head, delimiter) for delimiter in order}
    dividing = [delimiter for delimiter in order if sizes[delimiter] and sizes[delimiter][0] > 1]
    alike = (delimiter for delimiter in dividing if len(set(sizes[delimiter])) == 1)
    return next(alike, dividing[0] if dividing else usual)


def _is_spaced(head: list[str], delimiter: str) -> bool:
    """Return whether a space follows every delimiter of the header, as in `prompt, completion`.

    Quotes after such a space would else be part of the cells.
    """
    if delimiter == "\t":
        return False
    try:
        header = next(filter(None, csv.reader(head, delimiter=delimiter, strict=True)), [])
    except csv.Error:
        return False
    return len(header) > 1 and all(cell.startswith(" ") for cell in header[1:])


def _sizes(head: list[str], delimiter: str) -> list[int]:
    """Return the numbers of cells of header and first record, as far as they can be read."""
    records = filter(None, csv.reader(head, delimiter=delimiter, strict=True))
    sizes: list[int] = []
    try:
        sizes.extend(len(record) for record in islice(records, 2))
    except csv.Error:
        return sizes
    return sizes
