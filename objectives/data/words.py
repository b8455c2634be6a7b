"""Words of texts as numbers, for the comparison of rows."""

import re
import unicodedata
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import NDArray

# Scripts written without spaces: each character is a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Signs are words (x - y is not x + y), the punctuation of sentences is not.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s.,;:!?\"'`()\[\]{{}}…、。「」《》“”‘’]")
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")

# Share of a word that a character stands for: Chinese words have about two, Japanese kana four, Thai five.
_HAN, _KANA, _SYLLABLES = 0.5, 0.25, 0.2


class _Numbers(dict[str, int]):
    """Texts to numbers, from 0 in the order in which they are first asked for."""

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number


class Vocabulary:
    """Numbers of words and of whole texts, equal for equal ones."""

    def __init__(self) -> None:
        self._words, self._texts = _Numbers(), _Numbers()
        self._digests = bytearray()

    def words(self, text: str) -> list[int]:
        """Return the numbers of a text's words.

        Compatibility forms, case, spaces and the punctuation of sentences are folded.
        """
        folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
        return list(map(self._words.__getitem__, _WORD.findall(folded)))

    def text(self, text: str) -> int:
        """Return the number of a whole text."""
        return self._texts[_digest(text)]

    def hashes(self) -> NDArray[np.uint64]:
        """Return a hash of each word by its number, uint64 [words]; equal on every machine."""
        for word in islice(self._words, len(self._digests) // 8, None):
            self._digests += blake2b(word.encode(), digest_size=8).digest()
        return np.frombuffer(self._digests, dtype="<u8").astype(np.uint64)

    def weights(self) -> NDArray[np.float64]:
        """Return how much of a word each one is by its number, float64 [words]: 1 in scripts with spaces."""
        return np.array([_weight(word) for word in self._words], dtype=np.float64)


def _digest(text: str) -> str:
    """Return a short text in the place of a long one."""
    if len(text) < 64:
        return text
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _weight(word: str) -> float:
    if len(word) > 1 or not _UNSPACED_CHARACTER.match(word):
        return 1.0
    if "\u3040" <= word <= "\u30ff":
        return _KANA
    return _SYLLABLES if word < "\u3040" else _HAN
