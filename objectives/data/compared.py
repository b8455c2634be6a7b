"""Rows as cleaning compares them: the words of each turn and of the answer, as numbers."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.rows import Row
from loratory.objectives.data.texts import offsets_of, take_ragged
from loratory.objectives.data.words import Vocabulary

DIGEST_BYTES = 16
ANSWER = -1
"""Number of an answer among the turns."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedRows:
    """n rows, each with one part per turn and then one for its answer; P parts in all, with W words.

    Attributes:
        digests: uint8 [n, 16], hash of prompt and answer as `normalised` returns them.
        kinds: int64 [n], a number that rows with the same tools share.
        part_offsets: int64 [n + 1], where the parts of each row begin, and the end of the last.
        texts: int64 [P], a number that turns with the same text share; ANSWER for an answer.
        speakers: int64 [P], a number that turns of one role share.
        word_offsets: int64 [P + 1], where the words of each part begin, and the end of the last.
        words: int32 [W], numbers of words in `vocabulary`.
        vocabulary: of the words.
    """

    digests: NDArray[np.uint8]
    kinds: NDArray[np.int64]
    part_offsets: NDArray[np.int64]
    texts: NDArray[np.int64]
    speakers: NDArray[np.int64]
    word_offsets: NDArray[np.int64]
    words: NDArray[np.int32]
    vocabulary: Vocabulary

    def digest(self, index: int) -> bytes:
        """Return the hash of a row's prompt and answer."""
        return bytes(self.digests[index].tobytes())

    def take(self, indices: NDArray[np.int64]) -> "ComparedRows":
        """Return the rows at some indices, in their order."""
        parts, part_offsets = take_ragged(np.arange(len(self.texts)), self.part_offsets, indices)
        words, word_offsets = take_ragged(self.words, self.word_offsets, parts)
        return ComparedRows(
            digests=self.digests[indices],
            kinds=self.kinds[indices],
            part_offsets=part_offsets,
            texts=self.texts[parts],
            speakers=self.speakers[parts],
            word_offsets=word_offsets,
            words=words,
            vocabulary=self.vocabulary,
        )


class RowComparer:
    """Takes from rows what is compared, a batch after the other."""

    def __init__(self) -> None:
        self._vocabulary = Vocabulary()
        self._digests: list[bytes] = []
        self._words: list[NDArray[np.int32]] = []
        self._kinds: list[int] = []
        self._parts: list[int] = []
        self._texts: list[int] = []
        self._speakers: list[int] = []
        self._lengths: list[int] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows, which may then be forgotten."""
        words: list[int] = []
        number = self._vocabulary.text
        for row in rows:
            self._digests.append(_digest(row))
            self._kinds.append(number(row.tools) if row.tools else -1)
            self._parts.append(len(row.turns) + 1)
            for turn in row.turns:
                text = f"{turn.text}\n{turn.calls}" if turn.calls else turn.text
                self._texts.append(number(text))
                self._speakers.append(number(turn.role))
                self._add_words(words, text)
            self._texts.append(ANSWER)
            self._speakers.append(ANSWER)
            self._add_words(words, _answer(row))
        self._words.append(np.array(words, dtype=np.int32))

    def _add_words(self, words: list[int], text: str) -> None:
        found = self._vocabulary.words(text)
        self._lengths.append(len(found))
        words += found

    def rows(self) -> ComparedRows:
        """Return all rows that were added."""
        return ComparedRows(
            digests=np.frombuffer(b"".join(self._digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES),
            kinds=np.array(self._kinds, dtype=np.int64),
            part_offsets=offsets_of(self._parts),
            texts=np.array(self._texts, dtype=np.int64),
            speakers=np.array(self._speakers, dtype=np.int64),
            word_offsets=offsets_of(self._lengths),
            words=np.concatenate([np.empty(0, dtype=np.int32), *self._words]),
            vocabulary=self._vocabulary,
        )


def normalised(row: Row) -> str:
    """Return prompt and answer in composed Unicode (NFC) with single spaces, to find exact duplicates."""
    texts = [*[turn.text for turn in row.turns], row.answer]
    calls = [*[turn.calls for turn in row.turns], row.answer_calls, row.tools]
    if any(calls):
        texts += calls
    return "\x1f".join(_folded(text) for text in texts)


def _folded(text: str) -> str:
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


def _digest(row: Row) -> bytes:
    text = normalised(row).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=DIGEST_BYTES).digest()


def _answer(row: Row) -> str:
    if row.answer_calls and row.answer_calls != row.answer:
        return f"{row.answer}\n{row.answer_calls}"
    return row.answer
