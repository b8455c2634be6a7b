"""Tokens of the data that a base has no row for."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import AutoConfig

from loratory.objectives.qlora.base.architecture import read_architecture, vocabulary
from loratory.objectives.qlora.base.checks.vocabulary import check_vocabulary
from loratory.objectives.qlora.base.reference import BaseReference, resolve_base
from loratory.objectives.qlora.base.skeleton import build_skeleton
from loratory.spaces.errors import InputError

REFERENCE = BaseReference(location="/x", revision=None, published_name=None, trust_remote_code=False)


@pytest.fixture
def architecture(make_study):
    return read_architecture(resolve_base(make_study().model))


def test_data_of_the_bases_own_tokenizer_passes(data, architecture, tokenizer):
    check = check_vocabulary(data, architecture, tokenizer)
    assert (check.name, check.passed) == ("vocabulary", True)
    assert check.detail.endswith(f"of {len(tokenizer)}")


@pytest.mark.parametrize("split", ["train", "dev", "select", "test"])
def test_a_token_beyond_the_embedding_is_named(data, architecture, tokenizer, split):
    examples = data.named_splits[split]
    ids = np.where(np.arange(len(examples.token_ids)) == 3, len(tokenizer) - 1, examples.token_ids)
    changed = replace(data, **{split: replace(examples, token_ids=ids)})
    assert check_vocabulary(changed, architecture, tokenizer).passed
    smaller = replace(architecture, vocabulary=len(tokenizer) - 1)
    words = rf"has tokens 0 to {len(tokenizer) - 2}, its tokenizer's '.*' is {len(tokenizer) - 1}; take the"
    with pytest.raises(InputError, match=words):
        check_vocabulary(changed, smaller, tokenizer)


def test_a_head_that_is_smaller_than_the_embedding_counts():
    model = build_skeleton(AutoConfig.for_model("llama", vocab_size=64, num_hidden_layers=1), REFERENCE)
    assert vocabulary(model) == 64
    model.resize_token_embeddings(50)
    assert vocabulary(model) == 50
    model.lm_head.weight.data = model.lm_head.weight.data[:40]
    assert vocabulary(model) == 40
