"""A cut of the matrix that `make models` judges, one architecture for each thing that can happen."""

from dataclasses import replace

import pytest
import torch

from loratory.objectives.packing.decoding.decoder import Decoder
from model_matrix.architectures import ARCHITECTURES, Architecture
from model_matrix.case import judge
from model_matrix.page import page, summary
from model_matrix.study import write_data
from model_matrix.verdict import Verdict

RIGHT = {
    "llama": ("packed", "cache"),
    "mistral": ("packed", "cache"),
    "qwen3": ("packed", "cache"),
    "gemma3_text": ("packed", "cache"),
    "phi3 with longrope": ("packed", "cache"),
    "gptj": ("packed", "generate"),
    "minicpm3": ("packed", "generate"),
    "gemma4_text": ("packed", "generate"),
    "qwen3_5_text": ("one at a time", "generate"),
    "bloom": ("one at a time", "generate"),
    "rwkv without rescaled layers": ("one at a time", "uncached"),
}
REFUSED = {
    "gpt2": "Conv1D",
    "bert": "causal",
    "cpmant": "the last token of a text changes the logits of earlier ones",
    "rwkv": "must keep its weights",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("models")
    write_data(made)
    return made


@pytest.mark.parametrize("name", RIGHT)
def test_architectures_that_are_right(name, folder):
    verdict = judge(name, folder)
    assert (verdict.result, verdict.detail if verdict.result == "wrong" else "") == ("right", "")
    assert (verdict.training, verdict.decoding) == RIGHT[name]


@pytest.mark.parametrize("name", REFUSED)
def test_architectures_that_are_refused_in_a_sentence(name, folder):
    verdict = judge(name, folder)
    assert verdict.result == "refused"
    assert REFUSED[name] in verdict.detail and "; take" in verdict.detail


def test_a_wrong_answer_is_not_taken_for_right(folder, monkeypatch):
    class Reversed(Decoder):
        def advance(self):
            return [replace(answer, ids=answer.ids[::-1]) for answer in super().advance()]

    monkeypatch.setattr("loratory.objectives.qlora.engine.Decoder", Reversed)
    verdict = judge("llama", folder)
    assert verdict.result == "wrong" and "an answer is" in verdict.detail


def test_an_architecture_that_cannot_be_made_says_so(folder, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "none", Architecture(model_type="no-such-model"))
    assert judge("none", folder).result == "not made"


def test_the_matrix_has_at_least_eighty_architectures():
    assert len(ARCHITECTURES) >= 80


def test_the_page_fits_its_width_and_names_all():
    verdicts = [
        Verdict(name="llama", result="right", training="packed", decoding="cache"),
        Verdict(name="bert", result="refused", detail="model.base: bert must be causal " + "and so on " * 20),
    ]
    text = page(verdicts)
    assert max(map(len, text.splitlines())) <= 120
    assert "2 architectures: 1 right, 1 refused." in text
    assert "| bert | refused | | | 1 |" in text
    assert summary(verdicts[0]).startswith("llama ")
