"""Find near duplicates: MinHash LSH proposes candidates, and their true Jaccard similarity decides.

Broder, On the resemblance and containment of documents (1997); Indyk and Motwani (1998) for the banding.
"""

import re
import unicodedata
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHINGLE_WORDS = 5
PERMUTATIONS = 128
MISS_PROBABILITY = 1e-3
"""Largest probability that LSH misses a pair with a similarity equal to the threshold."""

# Scripts written without spaces: each character is a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Signs are words (x - y is not x + y), the punctuation of sentences is not.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s.,;:!?\"'`()\[\]{{}}…、。「」《》“”‘’]")

# An odd constant of 64 bits mixes well under multiplication (the golden ratio, as in Knuth's 6.4).
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Shingles = NDArray[np.uint64]


class Shingler:
    """Turns texts into sets of hashed word 5-grams."""

    def __init__(self) -> None:
        self._hashes: dict[str, int] = {}

    def shingles(self, text: str) -> Shingles:
        """Return sorted, unique uint64 hashes of the text's word 5-grams; a shorter text is one shingle.

        Compatibility forms, case, spaces and the punctuation of sentences are folded.
        """
        words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        if not words:
            return np.empty(0, dtype=np.uint64)
        ids = np.array([self._hash(word) for word in words], dtype=np.uint64)
        length = min(SHINGLE_WORDS, len(ids))
        hashes = np.zeros(len(ids) - length + 1, dtype=np.uint64)
        for offset in range(length):
            hashes = (hashes ^ (hashes >> np.uint64(29))) * _MULTIPLIER
            hashes = hashes + ids[offset : offset + len(hashes)]
        return np.unique(hashes)

    def _hash(self, word: str) -> int:
        if word not in self._hashes:
            self._hashes[word] = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
        return self._hashes[word]


def jaccard(first: Shingles, second: Shingles) -> float:
    """Return the Jaccard similarity of two shingle sets, in [0, 1]; 0 if both are empty."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    union = len(first) + len(second) - common
    return common / union if union else 0.0


class SimilarityIndex:
    """Finds a text whose similarity reaches the threshold, among the texts added so far.

    Args:
        texts: shingles of every text that may be added or looked up; a text is named by its position.
        threshold: least Jaccard similarity, in (0, 1].
        kinds: kind of each text; texts of different kinds are never similar. None: all are of one kind.
    """

    def __init__(
        self, texts: Sequence[Shingles], threshold: float, *, kinds: Sequence[Hashable] | None = None
    ) -> None:
        from datasketch import MinHash, MinHashLSH

        self._texts, self._threshold = texts, threshold
        self._kinds = kinds or [None] * len(texts)
        self._hashes = MinHash.bulk(
            [_hashes32(text) for text in texts], num_perm=PERMUTATIONS, seed=1, hashfunc=_identity
        )
        self._signatures = np.array([minhash.hashvalues for minhash in self._hashes]).reshape(
            -1, PERMUTATIONS
        )
        self._lsh: Any = MinHashLSH(num_perm=PERMUTATIONS, params=band_shape(threshold))

    def add(self, position: int) -> None:
        """Add a text to the index. A text without shingles is never found."""
        if len(self._texts[position]):
            self._lsh.insert(position, self._hashes[position])

    def find(self, position: int) -> tuple[int, float] | None:
        """Return the position and the similarity of an added text that reaches the threshold, or None."""
        if not len(self._texts[position]):
            return None
        kind = self._kinds[position]
        found = (c for c in self._lsh.query(self._hashes[position]) if self._kinds[c] == kind)
        candidates = np.array(sorted(found), dtype=np.int64)
        estimates = (self._signatures[candidates] == self._signatures[position]).mean(axis=1)
        # The estimate's standard deviation is at most 0.045: 0.2 below the threshold no match is to be found.
        hopeful = estimates >= self._threshold - 0.2
        order = np.argsort(-estimates[hopeful], kind="stable")
        for candidate in candidates[hopeful][order].tolist():
            similarity = jaccard(self._texts[candidate], self._texts[position])
            if similarity >= self._threshold:
                return candidate, similarity
        return None


def band_shape(threshold: float) -> tuple[int, int]:
    """Return bands and rows per band: the strictest shape that misses few pairs at the threshold.

    A pair of similarity s shares a band with probability 1 - (1 - s^rows)^bands.
    """
    shapes = [(PERMUTATIONS // rows, rows) for rows in range(1, PERMUTATIONS // 2 + 1)]
    safe = [(b, r) for b, r in shapes if (1 - threshold**r) ** b <= MISS_PROBABILITY]
    return safe[-1] if safe else shapes[0]


def without_common(texts: Sequence[Shingles], *, share: float = 0.1, least: int = 100) -> list[Shingles]:
    """Return the texts without the shingles that very many of them share, as those of a template.

    Args:
        texts: shingle sets.
        share: remove a shingle that is in more than this share of the texts.
        least: never remove a shingle that is in at most this many texts.
    """
    if len(texts) <= least:
        return list(texts)
    values, counts = np.unique(np.concatenate(texts), return_counts=True)
    common = values[counts > max(least, len(texts) * share)]
    return [np.setdiff1d(text, common, assume_unique=True) for text in texts]


def _hashes32(text: Shingles) -> list[int]:
    hashes: list[int] = ((text * _MULTIPLIER) >> np.uint64(32)).tolist()
    return hashes


def _identity(value: int) -> int:
    return value
