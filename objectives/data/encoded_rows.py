"""The encoded rows of all sources as arrays, with what cleaning compares."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.compared import ComparedRows, RowComparer
from loratory.objectives.data.encoding import Encoded
from loratory.objectives.data.examples import Examples
from loratory.objectives.data.rows import Ledger, Part, RawRow, Reason
from loratory.objectives.data.texts import Texts

Indices = NDArray[np.int64]

_AS_JSON = json.JSONEncoder(ensure_ascii=False, default=str).encode


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedRows:
    """n encoded rows, each named by its index.

    Attributes:
        examples: prompts, answers and token ids; ids are contents' ids, which equal rows share.
        has_group: bool [n], whether the group column names a group.
        files: file of each row.
        numbers: int64 [n], number of each row in its file.
        contents: columns of each row as JSON, for removed.jsonl.
        compared: what cleaning compares.
    """

    examples: Examples
    has_group: NDArray[np.bool_]
    files: Texts
    numbers: NDArray[np.int64]
    contents: Texts
    compared: ComparedRows

    @classmethod
    def of(cls, rows: Sequence[Encoded]) -> "EncodedRows":
        """Return rows as arrays."""
        collector = RowCollector()
        collector.add(rows)
        return collector.rows()

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, index: int) -> str:
        """Return file and number of a row, for messages."""
        return f"{self.files[index]}, row {self.numbers[index]}"

    def raw(self, index: int) -> RawRow:
        """Return a row as it was read."""
        fields = json.loads(self.contents[index])
        return RawRow(file=self.files[index], number=int(self.numbers[index]), fields=fields)

    def group_keys(self) -> list[str]:
        """Return the group's name of each row, or the id of its content where it has none."""
        named = zip(self.examples.groups, self.has_group.tolist(), strict=True)
        return [f"group {group}" if has_group else group for group, has_group in named]


class RowCollector:
    """Turns rows into arrays, a batch after the other."""

    def __init__(self) -> None:
        self._examples: list[Examples] = []
        self._files: list[Texts] = []
        self._contents: list[Texts] = []
        self._has_group: list[bool] = []
        self._numbers: list[int] = []
        self._comparer = RowComparer()

    def add(self, rows: Sequence[Encoded]) -> Indices:
        """Add rows, which may then be forgotten; return their indices."""
        self._examples.append(Examples.of(rows))
        self._files.append(Texts.of(row.row.raw.file for row in rows))
        self._contents.append(Texts.of(_json(row.row.raw) for row in rows))
        self._has_group += [row.row.group is not None for row in rows]
        self._numbers += [row.row.raw.number for row in rows]
        self._comparer.add([row.row for row in rows])
        return np.arange(len(self._numbers) - len(rows), len(self._numbers))

    def rows(self) -> EncodedRows:
        """Return all rows that were added."""
        return EncodedRows(
            examples=Examples.joined(self._examples),
            has_group=np.array(self._has_group, dtype=np.bool_),
            files=Texts.joined(self._files),
            numbers=np.array(self._numbers, dtype=np.int64),
            contents=Texts.joined(self._contents),
            compared=self._comparer.rows(),
        )


def keep(
    rows: EncodedRows,
    indices: Indices,
    problems: dict[int, tuple[Reason, str]],
    *,
    part: Part,
    ledger: Ledger,
) -> Indices:
    """Return the indices of rows without a problem; the others go to the ledger.

    Args:
        rows: all rows.
        indices: rows of a split.
        problems: reason and detail of each row to remove, by its index, in the order of removal.
        part: the split.
        ledger: gets the removed rows.
    """
    for index, (reason, detail) in problems.items():
        ledger.remove(part, rows.raw(index), reason=reason, detail=detail)
    removed = np.fromiter(problems, dtype=np.int64, count=len(problems))
    return indices[~np.isin(indices, removed)]


def _json(raw: RawRow) -> str:
    return _AS_JSON(raw.fields)
