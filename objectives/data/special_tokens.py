"""Special tokens in answers: those that end or pad one are left out of its text, others belong to it."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from loratory.objectives.data.rendered import Tokenizer


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Return the ids of all tokens that a tokenizer leaves out with `skip_special_tokens`."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(tokenizer.all_special_ids) | {number for number, token in added if token.special}


def ending_ids(tokenizer: Tokenizer, closing: Iterable[int] = ()) -> frozenset[int]:
    """Return the ids of tokens that are no part of any answer.

    Args:
        tokenizer: names end-of-sequence, padding, beginning-of-sequence and the unknown token.
        closing: the template's end-of-turn tokens.
    """
    names = ("eos_token_id", "pad_token_id", "bos_token_id", "unk_token_id")
    named = (getattr(tokenizer, name) for name in names)
    return frozenset((*closing, *(token for token in named if token is not None)))


class AnswerReader:
    """Turns the token ids of answers into text."""

    def __init__(self, tokenizer: Any, kept: Collection[int] = ()) -> None:
        """Read with a tokenizer.

        Args:
            tokenizer: a transformers tokenizer.
            kept: ids of special tokens that answers hold and that their text keeps.
        """
        self._tokenizer, self._kept = tokenizer, frozenset(kept)
        self._left_out = special_ids(tokenizer) - self._kept if self._kept else frozenset()

    def __call__(self, ids: Sequence[int]) -> str:
        """Return the text of an answer, without other special tokens and outer white space."""
        # Some tokenizers remove spaces before punctuation, or put spaces around special tokens.
        options: dict[str, bool] = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        if not self._kept.isdisjoint(ids):
            ids = [token for token in ids if token not in self._left_out]
            options |= {"skip_special_tokens": False, "spaces_between_special_tokens": False}
        text: str = self._tokenizer.decode(ids, **options)
        return text.strip()
