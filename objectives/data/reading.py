"""Read, parse, screen and encode the rows of all sources, some thousand at a time."""

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from loratory.objectives.data.encoded_rows import EncodedRows, Indices, RowCollector
from loratory.objectives.data.encoding import Encoded, Encoder
from loratory.objectives.data.formats import RowParser
from loratory.objectives.data.rows import Ledger, Part, RawRow, Row
from loratory.objectives.data.screening import screen
from loratory.objectives.data.sources import open_sources
from loratory.spaces.data import DataFormat, DataSpec
from loratory.spaces.errors import InputError

BATCH_ROWS = 4_096


@dataclass(frozen=True, kw_only=True)
class ReadSource:
    """One source after it was read.

    Attributes:
        rows: number of rows read.
        files: files that they came from, in order.
        found: format of the rows.
        used: columns that were read, as the files name them.
        unused: columns that were not used.
        as_written: whether prompts already have the form in which the model reads them.
        indices: the rows that could be encoded.
    """

    rows: int
    files: tuple[str, ...]
    found: DataFormat
    used: tuple[str, ...]
    unused: tuple[str, ...]
    as_written: bool
    indices: Indices


def read_encoded(
    data: DataSpec, encoder: Encoder, ledger: Ledger, *, confirm: bool
) -> tuple[EncodedRows, dict[Part, ReadSource]]:
    """Return the rows of all sources; those that cannot be learned from go to the ledger.

    Args:
        data: where the rows are, and how they are read.
        encoder: encodes them.
        ledger: keeps the rows that are removed.
        confirm: whether a part of eval may become confirm.

    Raises:
        InputError: a source or a row cannot be read, or `data.columns` names what no row has.
    """
    collector, sources = RowCollector(), {}
    unfound = {name for name, column in data.columns.items() if column is not None}
    with open_sources(data, confirm=confirm) as opened:
        for part, raw in opened.items():
            parser = RowParser(data)
            sources[part] = _read(raw, part, parser, encoder, collector, ledger)
            unfound &= parser.unfound
    _check_found(unfound, data)
    return collector.rows(), sources


def _read(
    raw: Iterator[RawRow],
    part: Part,
    parser: RowParser,
    encoder: Encoder,
    collector: RowCollector,
    ledger: Ledger,
) -> ReadSource:
    counter, indices = _Counter(), []

    def encode(rows: list[Row]) -> list[Encoded]:
        return encoder.encode(screen(rows, part, ledger), part, ledger)

    for encoded in _in_thread(encode, _batches(parser.parse(counter.counted(raw)))):
        indices.append(collector.add(encoded))
    for row in parser.removed:
        ledger.remove(part, row.raw, reason=row.reason, detail=row.detail)
    return ReadSource(
        rows=counter.rows,
        files=tuple(counter.files),
        found=parser.found,
        used=parser.used,
        unused=parser.unused,
        as_written=parser.as_written,
        indices=np.concatenate([np.empty(0, dtype=np.int64), *indices]),
    )


def _check_found(unfound: Collection[str], data: DataSpec) -> None:
    """Refuse names of columns that no row of any source has: a mistyped one would be left out in silence."""
    for name in sorted(unfound):
        raise InputError(
            f"data.columns: {name} must name a column or a path of some row, "
            f"no row of any source has {data.columns[name]}; correct it or leave {name} out"
        )


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _in_thread(
    encode: Callable[[list[Row]], list[Encoded]], batches: Iterable[list[Row]]
) -> Iterator[list[Encoded]]:
    """Return the encoded batches in order. While one is encoded, the next is read and the last is stored.

    Tokenizers work outside of Python's lock, so this fills the processors.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoding") as thread:
        before: Future[list[Encoded]] | None = None
        for batch in batches:
            following = thread.submit(encode, batch)
            if before is not None:
                yield before.result()
            before = following
        if before is not None:
            yield before.result()


@dataclass
class _Counter:
    """Counts rows and files as they pass."""

    rows: int = 0
    files: dict[str, None] = field(default_factory=dict)

    def counted(self, raw: Iterable[RawRow]) -> Iterator[RawRow]:
        for row in raw:
            self.rows += 1
            self.files.setdefault(row.file)
            yield row
