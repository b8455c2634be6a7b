"""Detect the writing system of a text, and choose sacrebleu's tokenizer for it."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final

# The first word of a character's Unicode name tells its script.
_HAN: Final = frozenset({"CJK", "IDEOGRAPHIC", "BOPOMOFO"})
_KANA: Final = frozenset({"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"})
_OTHER_UNSPACED: Final = frozenset({"THAI", "LAO", "KHMER", "MYANMAR"})

# A Han character is about a word, as are five Latin letters: a tenth of the letters is a third of the words.
_SHARE_OF_LETTERS: Final = 0.1
_KANA_SHARE_OF_JAPANESE: Final = 0.1


class Script(StrEnum):
    """Scripts by the way they separate words."""

    SPACED = "spaced"
    HAN = "han"
    KANA = "kana"
    OTHER_UNSPACED = "other_unspaced"


_BY_LANGUAGE: Final = {
    **dict.fromkeys(("zh", "zho", "chi", "cmn", "yue", "wuu"), Script.HAN),
    **dict.fromkeys(("ja", "jpn"), Script.KANA),
    **dict.fromkeys(("th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bur"), Script.OTHER_UNSPACED),
}


@lru_cache(maxsize=1 << 16)
def character_script(character: str) -> Script:
    """Return the script of one character; SPACED stands for all scripts with spaces between words."""
    if character.isascii():
        return Script.SPACED
    first = unicodedata.name(character, "").partition(" ")[0]
    if first in _HAN:
        return Script.HAN
    if first in _KANA:
        return Script.KANA
    return Script.OTHER_UNSPACED if first in _OTHER_UNSPACED else Script.SPACED


def text_script(texts: Sequence[str], language: str | None = None) -> Script:
    """Return the script that decides how `texts` are tokenised.

    Args:
        texts: the references. Predictions are not looked at, so that all trials are scored alike.
        language: ISO 639 code, with or without a region (`zh`, `zh-CN`, `jpn`); None: detect the script.
    """
    if language is not None:
        code = language.lower().replace("_", "-").partition("-")[0]
        return _BY_LANGUAGE.get(code, Script.SPACED)
    return _detected(texts)


def _detected(texts: Sequence[str]) -> Script:
    letters = (c for text in texts for c in unicodedata.normalize("NFKC", text) if c.isalpha())
    counts = Counter(map(character_script, letters))
    han, kana, other = counts[Script.HAN], counts[Script.KANA], counts[Script.OTHER_UNSPACED]
    least = max(1.0, _SHARE_OF_LETTERS * counts.total())
    if han + kana >= least:
        return Script.KANA if kana >= _KANA_SHARE_OF_JAPANESE * (han + kana) else Script.HAN
    return Script.OTHER_UNSPACED if other >= least else Script.SPACED


def bleu_tokenizer(script: Script) -> str:
    """Return the name of sacrebleu's tokenizer for a script.

    `zh` splits Han characters only, so Japanese uses `char`. MeCab is not a dependency, since the meaning
    of a score must not change with the installed packages.
    """
    return {Script.SPACED: "13a", Script.HAN: "zh"}.get(script, "char")
