import hashlib
import sys
from types import SimpleNamespace

import pytest
import sacrebleu.tokenizers.tokenizer_spm as tokenizer_spm
import sacrebleu.utils
from sacrebleu.metrics.bleu import BLEU

from loratory.objectives.metrics import score_texts
from loratory.objectives.metrics.bleu_tokenizers import open_model
from loratory.spaces.errors import InputError


class Processor:
    """The two calls of sentencepiece's processor; a word is cut into pieces of two letters."""

    def LoadFromSerializedProto(self, content):  # noqa: N802
        if not content.startswith(b"pieces"):
            raise RuntimeError("could not parse ModelProto")

    def EncodeAsPieces(self, line):  # noqa: N802
        words = [f"▁{word}" for word in line.split()]
        return [word[start : start + 2] for word in words for start in range(0, len(word), 2)]


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model file, with sentencepiece and without a way to fetch."""
    monkeypatch.setitem(sys.modules, "sentencepiece", SimpleNamespace(SentencePieceProcessor=Processor))

    def refuse(*_, **__):
        raise AssertionError("nothing is fetched")

    for module in (sacrebleu.utils, tokenizer_spm):
        monkeypatch.setattr(module, "download_file", refuse)
    open_model.cache_clear()
    path = tmp_path / "pieces.model"
    path.write_bytes(b"pieces of two letters")
    return path


@pytest.mark.parametrize("name", ["flores101", "flores200", "spm"])
def test_pieces_are_those_of_the_named_file(model, name):
    predictions, references = ["the cats sat on mats", "one two"], ["the cat sat on a mat", "one three two"]
    given = {"bleu_tokenizer": name, "bleu_tokenizer_file": str(model)}
    scores = score_texts(["bleu"], predictions, references, **given)
    split = [" ".join(Processor().EncodeAsPieces(text)) for text in (*predictions, *references)]
    oracle = BLEU(tokenize="none", force=True).corpus_score(split[:2], [split[2:]])
    assert scores.aggregate["bleu"] == oracle.score > 0
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert f"|tok:{name}|" in scores.signatures["bleu"]
    assert scores.signatures["bleu"].endswith(f"|model:{digest[:12]}")


def test_a_missing_or_wrong_file_is_named(model, tmp_path):
    with pytest.raises(InputError, match=r"bleu_tokenizer_file: .*none must be a file .*No such file"):
        open_model(str(tmp_path / "none"))
    model.write_text("text")
    with pytest.raises(InputError, match=r"must be a SentencePiece model, cannot be read: could not parse"):
        open_model(str(model))
