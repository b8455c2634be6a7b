import json
from pathlib import Path

import pytest

from loratory.spaces import earlier_defaults
from loratory.spaces.earlier_defaults import as_begun_with, with_defaults_of
from loratory.spaces.earlier_names import renamed_spec
from loratory.spaces.study import StudySpec

FIRST = json.loads((Path(__file__).parent / "version_1_defaults.json").read_text())
QLORA = {"name": "s", "space": {"rank": [8, 16]}, "model": {"base": "b"}, "data": {"train": "t.jsonl"}}
TOY = {"name": "s", "objective": "toy", "space": {"rank": [8, 16]}, "toy": {}}


@pytest.fixture
def later(monkeypatch):
    """As if `evaluations`, `dropout` and `noise` had had other defaults in version 1."""
    defaults = {"evaluation": {"evaluations": 9}, "training": {"dropout": 0.5}, "toy": {"noise": 0.25}}
    monkeypatch.setitem(earlier_defaults.DEFAULTS, 1, defaults)


@pytest.mark.parametrize("file", [QLORA, TOY])
def test_a_study_of_version_1_has_the_defaults_of_0_1_0(file):
    """Where this fails, a default has changed: give the old one to `earlier_defaults.DEFAULTS`."""
    study = as_begun_with(1, StudySpec.model_validate(file)).model_dump(mode="json")
    for name, default in renamed_spec(1, FIRST).items():
        if study[name] is None or not isinstance(default, dict):
            assert name in ("model", "data", "toy") or study[name] == default, name
        else:
            assert _cut_to(default, study[name]) == default, name


def _cut_to(keys, fields):
    """The fields of nested mappings that stand in other ones too."""
    return {
        key: _cut_to(inner, fields[key]) if isinstance(inner, dict) else fields.get(key)
        for key, inner in keys.items()
    }


def test_a_key_that_the_file_leaves_out_has_the_earlier_default_and_others_stay(later):
    file = TOY | {"trials": 7, "training": {"epochs": 2}, "evaluation": {"max_new_tokens": 8}}
    study = as_begun_with(1, StudySpec.model_validate(file))
    assert (study.evaluation.evaluations, study.evaluation.max_new_tokens) == (9, 8)
    assert (study.training.dropout, study.training.epochs) == (0.5, 2)
    assert study.toy is not None and study.toy.noise == 0.25
    assert (study.trials, study.space) == (7, StudySpec.model_validate(TOY).space)


def test_what_the_file_says_itself_stays(later):
    file = TOY | {"evaluation": {"evaluations": 3}, "space": {"dropout": [0.0, 0.1]}}
    study = as_begun_with(1, StudySpec.model_validate(file))
    assert study.evaluation.evaluations == 3
    assert "dropout" not in study.training.model_fields_set, "it is searched"


def test_a_study_that_begins_now_and_one_of_another_objective_are_left_alone(later):
    study = StudySpec.model_validate(QLORA)
    assert as_begun_with(2, study) is study
    assert as_begun_with(1, study).toy is None


def test_a_recorded_spec_is_filled_where_a_key_is_missing(later):
    recorded = {"evaluation": {"evaluations": 4}, "toy": None}
    filled = with_defaults_of(1, recorded)
    assert filled == {"evaluation": {"evaluations": 4}, "training": {"dropout": 0.5}, "toy": None}
