"""Encode and decode many texts at once, without the objects that transformers makes of each."""

from collections.abc import Sequence
from typing import Any

from loratory.objectives.data.rendering import Tokenizer

_COMPARED = 64


class BatchTokenizer:
    """Encodes and decodes texts as a tokenizer does.

    Fast tokenizers are asked in their own library, which takes two thirds of the time and less memory. The
    first texts go both ways. Where the two differ, since a class of tokenizers has rules of its own, all
    texts go through transformers.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._fast: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._unseen = True

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of texts, without special tokens that a tokenizer adds."""
        if not texts:  # transformers encodes and decodes an empty list as one empty text
            return []
        if self._unseen:
            self._compare(texts[:_COMPARED])
        if self._fast is None:
            return self._slow_ids(texts)
        return [encoding.ids for encoding in self._fast.encode_batch_fast(texts, add_special_tokens=False)]

    def texts(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """Return the texts of token ids, without special tokens."""
        if not sequences:
            return []
        if self._unseen or self._fast is None:
            return self._slow_texts(sequences)
        texts: list[str] = self._fast.decode_batch(list(map(list, sequences)), skip_special_tokens=True)
        return texts

    def _compare(self, texts: list[str]) -> None:
        """Keep the fast way if it gives what transformers does."""
        self._unseen = False
        try:
            same = self._fast is not None and self._agree(texts, self._slow_ids(texts))
        except (AttributeError, TypeError):  # an earlier version of tokenizers, or another kind of tokenizer
            same = False
        if not same:
            self._fast = None

    def _agree(self, texts: list[str], ids: list[list[int]]) -> bool:
        return ids == self.ids(texts) and self._slow_texts(ids) == self.texts(ids)

    def _slow_ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _slow_texts(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        return self._tokenizer.batch_decode(
            list(map(list, sequences)), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
