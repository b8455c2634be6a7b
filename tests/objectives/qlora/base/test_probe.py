"""What a worker says of its base before the first trial, and what it refuses."""

import shutil

import pytest

from loratory.objectives.packing.decoding.probe import DecodingProbe
from loratory.objectives.qlora.base.probe import longest_sequence
from loratory.spaces.errors import InputError

GPTJ = {"rotary_dim": 8}


@pytest.fixture
def ready(make_objective):
    """A function: a study to what its worker says first."""
    return lambda study: make_objective(study).advance([])[0]


@pytest.fixture
def study_on(make_study, base_folder):
    def make(kind, *, metrics=("rougeL",), dtype="fp32", **changes):
        return make_study(
            model={"base": str(base_folder(kind, **changes)), "compute_dtype": dtype},
            evaluation={"metrics": [*metrics], "evaluations": 1},
        )

    return make


def results(event):
    return {check.name: check.passed for check in event.checks}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_right_base_passes_without_a_note(ready, study_on, dtype):
    event = ready(study_on("llama", dtype=dtype))
    assert results(event) == dict.fromkeys(("causal", "packing", "cache", "decoding"), True)
    assert len(event.notes) == 1 and event.notes[0].startswith("pack: ")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_base_that_the_cache_does_not_serve_says_what_it_costs(ready, study_on, dtype):
    event = ready(study_on("gptj", dtype=dtype, **GPTJ))
    assert results(event) == {"causal": True, "packing": True, "cache": None, "decoding": True}
    assert "transformers' generate, one adapter after another" in event.notes[0]
    assert "K adapters take K times as long as one" in event.notes[0]
    assert event.arrangement.decoding_rows == study_on("gptj", **GPTJ).evaluation.batch_size


def test_a_base_that_decodes_nothing_is_not_asked_to(ready, study_on):
    event = ready(study_on("gptj", metrics=("loss",), **GPTJ))
    assert results(event) == {"causal": True, "packing": True, "cache": None, "decoding": None}
    assert len(event.notes) == 1


def test_a_base_without_a_right_way_is_refused_in_a_sentence(study_on, make_objective, monkeypatch):
    monkeypatch.setattr(DecodingProbe, "why_not_cached", lambda _: "wrong")
    monkeypatch.setattr(DecodingProbe, "why_not_generated", lambda *_: "wrong too")
    with pytest.raises(
        InputError, match=r"must be decoded right in some way.*; take another base"
    ) as refusal:
        make_objective(study_on("llama"))
    assert refusal.value.exit_status == 2


def test_half_precision_that_overflows_is_refused(study_on, make_objective, monkeypatch):
    from loratory.objectives.packing.probe import Reference

    monkeypatch.setattr(Reference, "finite", property(lambda _: False))
    with pytest.raises(InputError, match=r"model.compute_dtype: must be one in which .* fp32|float32"):
        make_objective(study_on("llama"))


def test_weights_that_were_never_written_are_refused(make_study, make_objective, base_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(base_folder(), tmp_path / "base")
    path = tmp_path / "base/model.safetensors"
    save_file({name: weight * 0 for name, weight in load_file(path).items()}, path, metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"must compute logits that differ, all are zero, .*; copy or download"
    ):
        make_objective(make_study(model={"base": str(tmp_path / "base")}))


def test_checkpointed_layers_still_use_their_cache(make_study, base_folder, ready):
    """In training mode they would take none, and answers would be of the last token alone."""
    model = {"base": str(base_folder("gptj", **GPTJ)), "gradient_checkpointing": True}
    event = ready(make_study(model=model, evaluation={"metrics": ["rougeL"], "evaluations": 1}))
    (decoding,) = [check for check in event.checks if check.name == "decoding"]
    assert "reading its whole prompt" not in decoding.detail


def test_the_longest_sequence_has_room_for_an_answer(make_study, data):
    study = make_study()
    prompts = [len(e.prompt_ids) for split in (data.dev, data.select, data.test) for e in split]
    most = longest_sequence(study, data)
    assert most >= max(prompts) + study.evaluation.max_new_tokens
    assert most >= max(map(len, data.train))
