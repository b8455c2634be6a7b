"""Tokenizers of BLEU: sacrebleu's, and SentencePiece models from a file, which sacrebleu would fetch."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from loratory.spaces.errors import InputError

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU


def open_bleu(tokenizer: str, *, file: str | None = None, effective_order: bool = False) -> "BLEU":
    """Return sacrebleu's BLEU with a tokenizer.

    Args:
        tokenizer: name of the tokenizer.
        file: SentencePiece model of flores101, flores200 and spm.
        effective_order: stop at the longest n-gram of the prediction, for single sentences.
    """
    from sacrebleu.metrics.bleu import BLEU

    if file is None:
        return BLEU(tokenize=tokenizer, effective_order=effective_order, force=True)
    bleu = BLEU(tokenize="none", effective_order=effective_order, force=True)
    bleu.tokenizer, bleu.tokenizer_signature = open_model(file), tokenizer
    return bleu


def bleu_signature(bleu: "BLEU", file: str | None) -> str:
    """Return sacrebleu's signature, with the first digits of the SHA-256 of the model file.

    Args:
        bleu: a metric that has scored something.
        file: SentencePiece model of its tokenizer.
    """
    model = f"|model:{open_model(file).sha256[:12]}" if file is not None else ""
    return f"{bleu.get_signature()}{model}"


class SentencePiece:
    """A SentencePiece model as a tokenizer of sacrebleu.

    Attributes:
        sha256: hash of the model file, in hex.
    """

    def __init__(self, content: bytes) -> None:
        import sentencepiece

        self.sha256 = hashlib.sha256(content).hexdigest()
        self._processor = sentencepiece.SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(content)

    def __call__(self, line: str) -> str:
        """Return the pieces of a text with spaces between them."""
        return " ".join(self._processor.EncodeAsPieces(line))


@lru_cache(maxsize=2)
def open_model(file: str) -> SentencePiece:
    """Read the SentencePiece model that a study names.

    Raises:
        InputError: there is no such file, or it is no such model.
    """
    place = f"evaluation.bleu_tokenizer_file: {file}"
    try:
        content = Path(file).expanduser().read_bytes()
    except OSError as error:
        raise InputError(f"{place} must be a file on every machine of the study: {error.strerror}") from error
    try:
        return SentencePiece(content)
    except Exception as error:  # sentencepiece raises RuntimeError, OSError or its own status
        raise InputError(f"{place} must be a SentencePiece model, cannot be read: {error}") from error
