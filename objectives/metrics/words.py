"""Words of a text in any script: what ROUGE and token F1 count."""

import unicodedata
from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from loratory.objectives.metrics.scripts import Script, character_script

_ARTICLES: Final = frozenset({"a", "an", "the"})


class _Kind(Enum):
    LETTER = auto()
    MARK = auto()
    ALONE = auto()
    SYMBOL = auto()
    GAP = auto()


def rouge_words(text: str) -> list[str]:
    """Words as ROUGE counts them: lower case, split at everything but letters, digits and marks.

    On ASCII text these are the tokens of rouge_score's own tokenizer, without stemming. That one drops
    every other character; this one keeps all scripts, and where a script has no spaces between words
    (Chinese, Japanese, Thai, ...) each character is a word.
    """
    return list(_split(text, symbols_join=False))


def answer_words(text: str) -> list[str]:
    """Words of a short answer as SQuAD counts them: lower case, no punctuation, no English articles.

    On ASCII text these are the tokens of SQuAD's evaluation script (Rajpurkar et al., 2016): punctuation is
    taken out, not split at. Characters of scripts without spaces are words of their own.
    """
    return [word for word in _split(text, symbols_join=True) if word not in _ARTICLES]


@lru_cache(maxsize=1 << 16)
def _kind(character: str) -> _Kind:
    category = unicodedata.category(character)
    if category[0] == "M":
        return _Kind.MARK
    if category[0] in "LN":
        return _Kind.LETTER if character_script(character) is Script.SPACED else _Kind.ALONE
    if category == "So":  # emoji and the like say something; no ASCII character is one
        return _Kind.ALONE
    return _Kind.SYMBOL if category[0] in "PS" else _Kind.GAP


def _split(text: str, *, symbols_join: bool) -> Iterator[str]:
    word, alone = "", False
    for character in unicodedata.normalize("NFKC", text).lower():
        kind = _kind(character)
        if kind is _Kind.SYMBOL and symbols_join:
            continue
        # A mark belongs to what it stands on, also where that is a word of its own.
        ends = kind in (_Kind.ALONE, _Kind.SYMBOL, _Kind.GAP) or (alone and kind is _Kind.LETTER)
        if ends and word:
            yield word
        if ends:
            word, alone = "", kind is _Kind.ALONE
        if kind not in (_Kind.SYMBOL, _Kind.GAP):
            word += character
    if word:
        yield word
