"""Rows of which another row is nearly a copy."""

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.compared import ANSWER, ComparedRows
from loratory.objectives.data.encoded_rows import EncodedRows, Indices, keep
from loratory.objectives.data.nearness import SHORT_ANSWER_WORDS, Passages
from loratory.objectives.data.rows import Ledger, Part, Reason
from loratory.objectives.data.shingles import ShingleSets, without_common
from loratory.objectives.data.similarity import SimilarityIndex
from loratory.objectives.data.texts import offsets_of

# A turn that is in this many rows is an instruction that they share, and is not compared.
_SHARED_BY = 10


class NearIndex:
    """An index of all splits; each split is compared with the earlier ones, and train with itself too.

    Args:
        rows: all rows.
        parts: indices of the rows of each split that is compared; a split is looked up in this order.
        threshold: least Jaccard similarity of the wholes, and share of equal words of long answers.
        by_parts: whether questions and answers must be near too, not only the wholes.
    """

    def __init__(
        self, rows: EncodedRows, parts: Mapping[Part, Indices], *, threshold: float, by_parts: bool
    ) -> None:
        self._rows, self._parts = rows, parts
        self._places = np.concatenate(list(parts.values()))
        self._ends = dict(
            zip(parts, np.cumsum([len(indices) for indices in parts.values()]).tolist(), strict=True)
        )
        own = _OwnWords(rows.compared.take(self._places))
        if by_parts:
            near = _NearParts(own, threshold)
            self._index = SimilarityIndex(
                own.shingles(), threshold, kinds=near.kinds, twins=near.twins, accepts=near.accepts
            )
        else:
            self._index = SimilarityIndex(own.shingles(), threshold, kinds=own.kinds)

    def removed_from(self, part: Part, ledger: Ledger) -> Indices:
        """Return the rows of the next split that are like no earlier row; the others go to the ledger."""
        indices, problems, kept = self._parts[part], {}, []
        for position in range(self._ends[part] - len(indices), self._ends[part]):
            match = None if part is Part.EVAL else self._index.find(position)
            if match is not None:
                problems[int(self._places[position])] = self._described(part, *match)
                continue
            kept.append(position)
            if part is Part.TRAIN:
                self._index.add(position)
        if part is not Part.TRAIN:
            # Eval and test keep their own near copies: only later splits are compared with these rows.
            for position in kept:
                self._index.add(position)
        return keep(self._rows, indices, problems, part=part, ledger=ledger)

    def _described(self, part: Part, position: int, similarity: float) -> tuple[Reason, str]:
        of = next(part for part, end in self._ends.items() if position < end)
        place = self._rows.place(int(self._places[position]))
        if of is part:
            return Reason.NEAR_DUPLICATE, f"Jaccard similarity {similarity:.3f} to {place}"
        return Reason.LEAKED, f"Jaccard similarity {similarity:.3f} to {of} ({place})"


class _OwnWords:
    """Rows without the instructions that many of them share.

    Rows under different instructions ask for different things, however similar the rest is.

    Attributes:
        kinds: shared instructions and tools of each row; rows of different kinds are not compared.
        prompts: the own turns of each row.
        answers: the answer of each row.
    """

    def __init__(self, rows: ComparedRows) -> None:
        turns = rows.texts != ANSWER
        row = np.repeat(np.arange(len(rows.kinds)), np.diff(rows.part_offsets))
        shared = turns & _shared(rows.texts, row, turns)
        owned = np.bincount(row[turns & ~shared], minlength=len(rows.kinds)) > 0
        shared &= owned[row]
        self._rows = rows
        self.kinds = _kinds(rows, row, shared)
        self.prompts = self._passages(turns & ~shared, row)
        self.answers = self._passages(~turns, row)
        self._own = self._passages(~shared, row)

    def shingles(self) -> ShingleSets:
        """Return the shingles of each row, without those that very many rows share."""
        hashes = self._rows.vocabulary.hashes()[self._own.words]
        return without_common(ShingleSets.of_words(hashes, self._own.offsets))

    def _passages(self, chosen: NDArray[np.bool_], row: NDArray[np.int64]) -> Passages:
        rows = self._rows
        parts = offsets_of(np.bincount(row[chosen], minlength=len(rows.kinds)))
        return Passages.of_parts(
            rows.words, rows.word_offsets, np.flatnonzero(chosen), parts, rows.vocabulary
        )


def _shared(texts: NDArray[np.int64], row: NDArray[np.int64], turns: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for each part whether its text is in as many rows as an instruction."""
    pairs = np.unique(np.stack([row[turns], texts[turns]]), axis=1)
    uses = np.bincount(pairs[1], minlength=int(texts.max(initial=0)) + 1)
    return uses[texts] >= _SHARED_BY


def _kinds(rows: ComparedRows, row: NDArray[np.int64], shared: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    kinds = [(kind,) for kind in rows.kinds.tolist()]
    found: list[tuple[int, ...]] = list(kinds)
    parts = np.flatnonzero(shared)
    for index, text, speaker in zip(
        row[parts].tolist(), rows.texts[parts].tolist(), rows.speakers[parts].tolist(), strict=True
    ):
        found[index] = (*found[index], text, speaker)
    return found


class _NearParts:
    """Compares the parts of rows.

    Attributes:
        kinds: besides the kind of a row, its answer where that is short.
        twins: a number that rows of one kind share whose own turns are equal and whose answers begin alike.
    """

    def __init__(self, own: _OwnWords, threshold: float) -> None:
        self._prompts, self._answers, self._threshold = own.prompts, own.answers, threshold
        self._short = (own.answers.sizes < SHORT_ANSWER_WORDS).tolist()
        self._answer_keys = own.answers.keys()
        self.kinds = [
            (kind, answer if short else None)
            for kind, answer, short in zip(own.kinds, self._answer_keys, self._short, strict=True)
        ]
        word = own.answers.words.itemsize
        asked = zip(own.kinds, own.prompts.keys(), self._answer_keys, strict=True)
        twins = [_number(f"{kind}".encode() + prompt + answer[:word]) for kind, prompt, answer in asked]
        self.twins = np.array(twins, dtype=np.uint64)

    def accepts(self, first: int, second: int) -> bool:
        """Return whether answers and prompts of two rows are near."""
        twins = self.twins[first] == self.twins[second]
        if not self._same_answer(first, second) and not (twins and self._answers.continues(first, second)):
            return False
        return bool(twins) or not self._prompts.replaced(first, second)

    def _same_answer(self, first: int, second: int) -> bool:
        if self._answer_keys[first] == self._answer_keys[second]:
            return True
        if self._short[first] or self._short[second]:
            return False
        return self._answers.share_new(first, second) <= 1 - self._threshold + 1e-9


def _number(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
