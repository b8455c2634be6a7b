"""Words of a text in any script: what ROUGE and token F1 count."""

import re
import unicodedata
from typing import Final

from loratory.objectives.metrics.scripts import Script, character_script

_ARTICLES: Final = frozenset({"a", "an", "the"})


# Kinds of characters, as letters: of words; marks; those that are words of their own; symbols; gaps.
_LETTER, _MARK, _ALONE, _SYMBOL, _GAP = "LMASG"
# A mark belongs to what it stands on, also where that is a word of its own.
_WORD: Final = re.compile("AM*|[LM]+")


def rouge_words(text: str) -> list[str]:
    """Words as ROUGE counts them: lower case, split at everything but letters, digits and marks.

    On ASCII text these are the tokens of rouge_score's own tokenizer, without stemming. That one drops
    every other character; this one keeps all scripts, and where a script has no spaces between words
    (Chinese, Japanese, Thai, ...) each character is a word.
    """
    return _split(text, symbols_join=False)


def answer_words(text: str) -> list[str]:
    """Words of a short answer as SQuAD counts them: lower case, no punctuation, no English articles.

    On ASCII text these are the tokens of SQuAD's evaluation script (Rajpurkar et al., 2016): punctuation is
    taken out, not split at. Characters of scripts without spaces are words of their own.
    """
    return [word for word in _split(text, symbols_join=True) if word not in _ARTICLES]


def _split(text: str, *, symbols_join: bool) -> list[str]:
    text = unicodedata.normalize("NFKC", text).lower()
    if symbols_join:
        text = text.translate(_WITHOUT_SYMBOLS)
    kinds = text.translate(_KINDS)  # a letter for each character: words stand at the same places in both
    return [text[word.start() : word.end()] for word in _WORD.finditer(kinds)]


class _Kinds(dict[int, str]):
    """A table for `str.translate`: each character becomes its kind."""

    def __missing__(self, code: int) -> str:
        self[code] = _kind(chr(code))
        return self[code]


class _WithoutSymbols(dict[int, str | None]):
    """A table for `str.translate` that takes symbols out."""

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
    if category == "So":  # emoji and the like say something; no ASCII character is one
        return _ALONE
    return _SYMBOL if category[0] in "PS" else _GAP
