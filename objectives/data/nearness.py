"""Comparison of two similar rows by their parts: the answers, and what only one of the prompts has.

Rows that share a long context are similar as wholes, whatever they ask. Two of them are copies only if no
passage of one prompt stands in the place of another passage, and if their answers are near by themselves.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.texts import take_ragged
from loratory.objectives.data.words import Vocabulary

SHORT_ANSWER_WORDS = 10
"""Shorter answers are near only if they are equal: one word of them is another answer."""
PASSAGE_WORDS = 1.5
"""A run of at least this many words is a passage; less is a changed word."""

_GRAM = 3
_FACTORS = np.array([1_000_003, 8_191, 1], dtype=np.int64)

Words = NDArray[np.int64]


class Passages:
    """The words of n texts, joined.

    Args:
        words: numbers of words in `vocabulary`.
        offsets: int64 [n + 1], where each text begins in `words`, and the end of the last.
        vocabulary: of the words.
    """

    def __init__(self, words: NDArray[np.int32], offsets: NDArray[np.int64], vocabulary: Vocabulary) -> None:
        self._words, self._offsets, self._weights = words, offsets, vocabulary.weights()

    @classmethod
    def of_parts(
        cls,
        words: NDArray[np.int32],
        word_offsets: NDArray[np.int64],
        parts: NDArray[np.int64],
        rows: NDArray[np.int64],
        vocabulary: Vocabulary,
    ) -> "Passages":
        """Return texts that each consist of some parts of a row.

        Args:
            words: numbers of the words of all parts.
            word_offsets: int64 [P + 1], where each part begins in `words`, and the end of the last.
            parts: parts to take, by row.
            rows: int64 [n + 1], where the parts of each row begin in `parts`, and the end of the last.
            vocabulary: of the words.
        """
        taken, offsets = take_ragged(words, word_offsets, parts)
        return cls(taken, offsets[rows], vocabulary)

    @property
    def words(self) -> NDArray[np.int32]:
        """Numbers of all words."""
        return self._words

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Start of each text, and the end of the last, int64 [n + 1]."""
        return self._offsets

    @property
    def sizes(self) -> NDArray[np.float64]:
        """Size of each text in words of a script with spaces, float64 [n]."""
        lengths = np.diff(self._offsets).astype(np.float64)
        if (self._weights == 1.0).all():
            return lengths
        sizes, filled = lengths, lengths > 0
        sizes[filled] = np.add.reduceat(self._weights[self._words], self._offsets[:-1][filled])
        return sizes

    def keys(self) -> list[bytes]:
        """Return the words of each text as bytes."""
        data = self._words.tobytes()
        ends = (self._offsets * self._words.itemsize).tolist()
        return [data[start:end] for start, end in pairwise(ends)]

    def __getitem__(self, index: int) -> Words:
        return self._words[self._offsets[index] : self._offsets[index + 1]].astype(np.int64)

    def continues(self, first: int, second: int) -> bool:
        """Return whether one of two texts begins with the other, which has a word."""
        shorter, longer = sorted((self[first], self[second]), key=len)
        return len(shorter) > 0 and bool((longer[: len(shorter)] == shorter).all())

    def share_new(self, first: int, second: int) -> float:
        """Return the largest share of the words of either text that the other does not have there."""
        texts, news = (self[first], self[second]), new_words(self[first], self[second])
        shares = [
            self._size(words[new]) / (self._size(words) or 1.0)
            for words, new in zip(texts, news, strict=True)
        ]
        return max(shares)

    def replaced(self, first: int, second: int) -> bool:
        """Return whether a passage of one text stands where the other has another passage."""
        texts, news = (self[first], self[second]), new_words(self[first], self[second])
        return all(
            self._longest_run(words, new) >= PASSAGE_WORDS for words, new in zip(texts, news, strict=True)
        )

    def _size(self, words: Words) -> float:
        return float(self._weights[words].sum())

    def _longest_run(self, words: Words, new: NDArray[np.bool_]) -> float:
        if not new.any():
            return 0.0
        starts = np.flatnonzero(np.diff(new, prepend=False) & new)
        sizes = np.where(new, self._weights[words], 0.0)
        return float(np.add.reduceat(sizes, starts).max())


def new_words(first: Words, second: Words) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which words of two texts are in no group of three that the other text has too, bool each.

    What both texts begin and end with is not new. Changes that fewer than three words separate are one.
    """
    most = min(len(first), len(second))
    begin = _common(first[:most], second[:most])
    end = _common(first[::-1][: most - begin], second[::-1][: most - begin])
    padded = [_padded(text)[begin : len(text) - end + 2 * (_GRAM - 1)] for text in (first, second)]
    grams = [np.lib.stride_tricks.sliding_window_view(text, _GRAM) @ _FACTORS for text in padded]
    news = []
    for text, own, other in ((first, *grams), (second, *grams[::-1])):
        known = np.isin(own, other)
        new = np.zeros(len(text), dtype=np.bool_)
        # A word of the middle is in the groups that begin two words before it, one before it, and with it.
        inner = len(text) - begin - end
        covered = known[:inner] | known[1 : inner + 1] | known[2 : inner + 2]
        new[begin : begin + inner] = ~covered
        news.append(new)
    return news[0], news[1]


def _common(first: Words, second: Words) -> int:
    """Return the number of words that two texts of one length begin with."""
    unlike = np.flatnonzero(first != second)
    return int(unlike[0]) if len(unlike) else len(first)


def _padded(words: Words) -> Words:
    return np.pad(words, _GRAM - 1, constant_values=-1)
