"""Texts as sets of hashed word 5-grams (shingles).

Broder, On the resemblance and containment of documents (1997).
"""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.texts import offsets_of
from loratory.objectives.data.words import Vocabulary

SHINGLE_WORDS = 5

# An odd constant of 64 bits mixes well under multiplication (the golden ratio, as in Knuth's 6.4).
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)

# Texts that are hashed together: enough to make calls cheap, few enough to keep temporary arrays small.
_BLOCK = 8_192

Shingles = NDArray[np.uint64]


class ShingleSets(Sequence[Shingles]):
    """The shingle sets of n texts, joined.

    Attributes:
        values: uint64, of each text its sorted, unique hashes.
        offsets: int64 [n + 1], where each text begins in `values`, and the end of the last.
    """

    def __init__(self, values: Shingles, offsets: NDArray[np.int64]) -> None:
        self.values, self.offsets = values, offsets

    @classmethod
    def of(cls, sets: Iterable[Shingles]) -> Self:
        """Join sets."""
        given = list(sets)
        values = np.concatenate(given) if given else np.empty(0, dtype=np.uint64)
        return cls(values, offsets_of([len(one) for one in given]))

    @classmethod
    def of_words(cls, hashes: Shingles, offsets: NDArray[np.int64]) -> Self:
        """Return the sets of word 5-grams of texts; a shorter text is one shingle, an empty one has none.

        Args:
            hashes: uint64, hashes of the words of all texts.
            offsets: int64 [n + 1], where each text begins in `hashes`, and the end of the last.
        """
        blocks = [
            _shingles(hashes[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first])
            for first in range(0, len(offsets) - 1, _BLOCK)
            for last in (min(first + _BLOCK, len(offsets) - 1),)
        ]
        values = [values for values, _ in blocks] or [np.empty(0, dtype=np.uint64)]
        counts = [counts for _, counts in blocks] or [np.empty(0, dtype=np.int64)]
        return cls(np.concatenate(values), offsets_of(np.concatenate(counts)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Shingles:  # type: ignore[override]  # slices are not needed
        return self.values[self.offsets[index] : self.offsets[index + 1]]


class Shingler:
    """Turns single texts into sets of shingles."""

    def __init__(self) -> None:
        self._vocabulary = Vocabulary()

    def shingles(self, text: str) -> Shingles:
        """Return sorted, unique uint64 hashes of the text's word 5-grams; a shorter text is one shingle."""
        words = np.array(self._vocabulary.words(text), dtype=np.int64)
        return ShingleSets.of_words(self._vocabulary.hashes()[words], offsets_of([len(words)]))[0]


def hash_runs(words: Shingles, starts: NDArray[np.int64], length: int) -> Shingles:
    """Return the hash of the `length` words from each start on."""
    hashes = np.zeros(len(starts), dtype=np.uint64)
    for offset in range(length):
        hashes = (hashes ^ (hashes >> _SHIFT)) * MULTIPLIER
        hashes += words[starts + offset]
    return hashes


def jaccard(first: Shingles, second: Shingles) -> float:
    """Return the Jaccard similarity of two shingle sets, in [0, 1]; 0 if both are empty."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    union = len(first) + len(second) - common
    return common / union if union else 0.0


def without_common(texts: ShingleSets, *, share: float = 0.1, least: int = 100) -> ShingleSets:
    """Return the texts without the shingles that very many of them share, as those of a template.

    Args:
        texts: shingle sets.
        share: remove a shingle that is in more than this share of the texts.
        least: never remove a shingle that is in at most this many texts.
    """
    if len(texts) <= least:
        return texts
    ordered = np.sort(texts.values)
    firsts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - np.uint64(1)))
    counts = np.diff(firsts, append=len(ordered))
    common = ordered[firsts[counts > max(least, len(texts) * share)]]
    if not len(common):
        return texts
    nearest = np.minimum(np.searchsorted(common, texts.values), len(common) - 1)
    kept = common[nearest] != texts.values
    lengths = np.diff(np.concatenate([[0], np.cumsum(kept)])[texts.offsets])
    return ShingleSets(texts.values[kept], offsets_of(lengths))


def _shingles(words: Shingles, offsets: NDArray[np.int64]) -> tuple[Shingles, NDArray[np.int64]]:
    """Return the joined sets of some texts, and the size of each."""
    lengths = np.diff(offsets)
    rows, hashes = [], []
    for length in range(1, SHINGLE_WORDS + 1):
        chosen = np.flatnonzero(lengths == length if length < SHINGLE_WORDS else lengths >= length)
        runs = lengths[chosen] - length + 1
        row = np.repeat(chosen, runs)
        starts = offsets[row] + np.arange(len(row)) - np.repeat(np.cumsum(runs) - runs, runs)
        rows.append(row)
        hashes.append(hash_runs(words, starts, length))
    row, values = np.concatenate(rows), np.concatenate(hashes)
    order = np.lexsort((values, row))
    row, values = row[order], values[order]
    new = np.ones(len(row), dtype=np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (values[1:] != values[:-1])
    return values[new], np.bincount(row[new], minlength=len(lengths)).astype(np.int64)
