import pytest

from loratory.objectives.metrics import score_texts
from loratory.spaces.earlier_defaults import as_begun_with, with_defaults_of
from loratory.spaces.earlier_names import renamed_params
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import resolve_trial

TOY = {"name": "s", "objective": "toy", "space": {"rank": [8, 16]}, "toy": {}}
SEARCHED = TOY | {"space": {"schedule": ["cosine", "linear"]}}


def begun(version, file):
    return as_begun_with(version, StudySpec.model_validate(file))


@pytest.mark.parametrize("training", [{}, {"schedule": "cosine"}, {"schedule": "cosine_nonzero_start"}])
def test_cosine_of_a_study_of_version_1_is_the_one_that_it_began_with(training):
    file = TOY | {"training": training}
    assert begun(1, file).training.schedule == "cosine_nonzero_start"
    recorded = with_defaults_of(1, {**TOY, "training": training})
    assert StudySpec.model_validate(recorded).training == begun(1, file).training
    present = {"schedule": "cosine", **training}["schedule"]
    assert begun(2, file).training.schedule == present


def test_searched_schedules_keep_their_names_in_the_storage():
    study = begun(1, SEARCHED)
    [distribution] = study.space.distributions().values()
    assert distribution.choices == ("cosine", "linear"), "as in the rows that the study has"
    trial = resolve_trial(study, number=3, attempt=1, sampled={"schedule": "linear"})
    assert trial.params == {"schedule": "linear_nonzero_start"}
    assert trial.training.schedule == "linear_nonzero_start"
    assert study.space.encode(trial.params) == {"schedule": "linear"}
    assert begun(1, study.model_dump(mode="json")) == study, "the file may have the present names"
    recorded = study.model_dump(mode="json") | {"space": SEARCHED["space"]}
    written = with_defaults_of(1, recorded)
    assert StudySpec.model_validate(written) == study


def test_searched_schedules_of_a_study_that_begins_now_are_those_of_transformers():
    study = begun(2, SEARCHED)
    trial = resolve_trial(study, number=3, attempt=1, sampled={"schedule": "linear"})
    assert trial.training.schedule == "linear"
    with pytest.raises(ValueError, match="cosine_nonzero_start"):
        study.space.encode({"schedule": "cosine_nonzero_start"})


def test_names_in_the_storage_are_as_many_as_the_choices():
    parameter = {"type": "categorical", "choices": ["cosine", "linear"], "stored": ["cosine"]}
    with pytest.raises(ValueError, match="stored must name each of the 2 choices, got 1 names"):
        StudySpec.model_validate(TOY | {"space": {"schedule": parameter}})


def test_sampled_values_have_the_present_names():
    assert renamed_params(1, {"schedule": "constant", "rank": 8}) == {
        "schedule": "constant_nonzero_start",
        "rank": 8,
    }
    assert renamed_params(2, {"schedule": "constant"}) == {"schedule": "constant"}
    assert renamed_params(1, {"rank": 8}) == {"rank": 8}


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("ja", "char"),
        ("jpn", "char"),
        ("zh-CN", "zh"),
        ("cmn", "zh"),
        ("de", "13a"),
        *((word, "13a") for word in ("jp", "Japanese", "")),
    ],
)
def test_a_language_of_version_1_scores_as_it_did(language, tokenizer):
    """Version 1 took any text; what it did not know had spaces between words."""
    fields = StudySpec.model_validate(TOY).model_dump(mode="json")
    fields["evaluation"]["language"] = language
    evaluation = StudySpec.model_validate(with_defaults_of(1, fields)).evaluation
    scores = score_texts(
        ["bleu"],
        ["良い天気"],
        ["いい天気"],
        language=evaluation.language,
        bleu_tokenizer=evaluation.bleu_tokenizer,
    )
    assert f"tok:{tokenizer}|" in scores.signatures["bleu"]
