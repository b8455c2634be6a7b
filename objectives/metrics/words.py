"""Split a text in any script into words, for ROUGE and token F1."""

import re
import unicodedata
from typing import Final

from loratory.objectives.metrics.scripts import Script, character_script

_ARTICLES: Final = frozenset({"a", "an", "the"})


# Kinds of characters, each written as a letter: letters, marks, single-character words, symbols and gaps.
_LETTER, _MARK, _ALONE, _SYMBOL, _GAP = "LMASG"
# A mark belongs to the character before it, also where that is a single-character word.
_WORD: Final = re.compile("AM*|[LM]+")


def rouge_words(text: str) -> list[str]:
    """Return the words for ROUGE: lower case, split at everything but letters, digits and marks.

    On ASCII text these are the tokens of rouge_score's own tokenizer, without stemming. That tokenizer
    drops all other characters. This function keeps all scripts; in a script without spaces between words
    (Chinese, Japanese, Thai, ...) each character is a word.
    """
    return _split(text, symbols_join=False)


def answer_words(text: str) -> list[str]:
    """Return the words of a short answer for SQuAD's F1: lower case, no punctuation, no English articles.

    On ASCII text these are the tokens of SQuAD's evaluation script (Rajpurkar et al., 2016): punctuation is
    removed, and does not split words. In scripts without spaces each character is a word.
    """
    return [word for word in _split(text, symbols_join=True) if word not in _ARTICLES]


def _split(text: str, *, symbols_join: bool) -> list[str]:
    text = unicodedata.normalize("NFKC", text).lower()
    if symbols_join:
        text = text.translate(_WITHOUT_SYMBOLS)
    kinds = text.translate(_KINDS)  # one letter per character, so words are at the same places in both texts
    return [text[word.start() : word.end()] for word in _WORD.finditer(kinds)]


class _Kinds(dict[int, str]):
    """Table for `str.translate` that replaces each character by the letter of its kind."""

    def __missing__(self, code: int) -> str:
        self[code] = _kind(chr(code))
        return self[code]


class _WithoutSymbols(dict[int, str | None]):
    """Table for `str.translate` that removes symbols."""

    def __missing__(self, code: int) -> str | None:
        self[code] = None if _KINDS[code] == _SYMBOL else chr(code)
        return self[code]


_KINDS: Final = _Kinds()
_WITHOUT_SYMBOLS: Final = _WithoutSymbols()


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] == "M":
        return _MARK
    if category[0] in "LN":
        return _LETTER if character_script(character) is Script.SPACED else _ALONE
    if category == "So":  # emoji and the like carry meaning; no ASCII character is one
        return _ALONE
    return _SYMBOL if category[0] in "PS" else _GAP
