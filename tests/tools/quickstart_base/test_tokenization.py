from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from quickstart_base.corpus import load_ids, save_ids
from quickstart_base.tokenization import (
    END_OF_TEXT,
    PADDING,
    encode_documents,
    save_tokenizer,
    train_tokenizer,
)

TEXTS = ["def f(x):\n    return x\n", "class A:\n\tä = '\u2028'\r\n", f"end = {END_OF_TEXT!r}\n"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS)


def test_special_tokens_come_first(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in (END_OF_TEXT, PADDING)] == [0, 1]


def test_documents_are_set_apart_and_can_be_read_back(tokenizer: Tokenizer) -> None:
    ids = encode_documents(tokenizer, TEXTS)
    ends = np.flatnonzero(ids == 0)
    assert ids.dtype == np.uint16
    assert len(ends) == len(TEXTS) + 1
    pieces = [ids[start + 1 : end].tolist() for start, end in pairwise(ends)]
    assert [tokenizer.decode(piece) for piece in pieces] == TEXTS


def test_ids_are_read_as_they_were_written(tmp_path: Path, tokenizer: Tokenizer) -> None:
    ids = encode_documents(tokenizer, TEXTS)
    save_ids(ids, tmp_path / "ids.npy.xz")
    assert np.array_equal(load_ids(tmp_path / "ids.npy.xz"), ids)


def test_the_tokenizer_is_written_as_transformers_reads_it(tmp_path: Path, tokenizer: Tokenizer) -> None:
    save_tokenizer(tokenizer, tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert (read.bos_token_id, read.eos_token_id, read.pad_token_id) == (0, 0, 1)
    assert read.decode(read(TEXTS[0])["input_ids"]) == TEXTS[0]
