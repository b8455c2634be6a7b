"""The base's tokenizer: byte-level BPE trained on Python source, and the encoding of a corpus with it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY_SIZE = 4096
END_OF_TEXT = "<|endoftext|>"
PADDING = "<|padding|>"
LONGEST_SEQUENCE = 512

# A line break and the next line's indentation are one token. A word includes the space or underscore before
# it, so that the parts of snake_case names are also the words of docstrings. Each digit is a token.
_PIECES = r"(?:\r?\n)+[ \t]*|[ _]?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s"


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Train the vocabulary; the two special tokens come first, so the padding's id is 1."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer's files for transformers; it adds no special tokens to a text by default."""
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        model_max_length=LONGEST_SEQUENCE,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


def encode_documents(tokenizer: Tokenizer, texts: Sequence[str]) -> npt.NDArray[np.uint16]:
    """Return the ids of all texts in one row, shape (tokens,), each text after an end-of-text token.

    If a text contains the characters of a special token, they are encoded as characters.
    """
    tokenizer.encode_special_tokens = True
    end = tokenizer.token_to_id(END_OF_TEXT)
    batches = (tokenizer.encode_batch_fast(texts[i : i + 256]) for i in range(0, len(texts), 256))
    rows = [np.array([end, *encoding.ids], np.uint16) for batch in batches for encoding in batch]
    return np.concatenate([*rows, np.array([end], np.uint16)])
