"""Weights that a configuration ties."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from loratory.objectives.qlora.base.checks.tied_weights import check_tied_weights
from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.spaces.errors import InputError

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture
def loaded(base_folder, make_study, tmp_path):
    """A function: whether the configuration ties, and the head in the files, to a loaded model."""

    def load(*, ties, head=None):
        shutil.copytree(base_folder(), tmp_path / "base")
        path, config = tmp_path / "base/model.safetensors", tmp_path / "base/config.json"
        weights = load_file(path)
        weights[HEAD] = weights[EMBEDDING].clone() if head is None else head(weights[EMBEDDING])
        save_file(weights, path, metadata={"format": "pt"})
        config.write_text(json.dumps(json.loads(config.read_text()) | {"tie_word_embeddings": ties}))
        model = make_study(model={"base": str(tmp_path / "base")}).model
        return load_base(model, resolve_base(model)).model

    return load


def other(embedding):
    return torch.roll(embedding, 1, 0)


def test_one_matrix_under_two_names_is_right(loaded):
    check_tied_weights(loaded(ties=True), "/x")


def test_a_head_of_its_own_is_right_where_nothing_is_tied(loaded):
    check_tied_weights(loaded(ties=False, head=other), "/x")


def test_two_matrices_that_should_be_one_are_refused(loaded):
    with pytest.raises(InputError, match=rf"/x must hold {HEAD} and {EMBEDDING} once, .* set it to false"):
        check_tied_weights(loaded(ties=True, head=other), "/x")
