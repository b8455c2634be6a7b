import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.spaces import StudySpec
from loratory.spaces.metric_names import Direction
from loratory.spaces.training import TrainingParameters

RATES = st.floats(1e-8, 0.5, allow_subnormal=False)
NUMBERS = {"learning_rate": RATES, "dropout": RATES, "warmup": RATES, "weight_decay": RATES, "epochs": RATES}
WHOLE = {"rank": st.integers(1, 1024), "batch_size": st.integers(1, 65_536)}


def ranges(kind, values):
    return st.tuples(values, values, st.booleans()).map(
        lambda v: {"type": kind, "low": min(v[:2]), "high": max(v[:2]), "log": v[2]}
    )


def choices(values):
    return st.lists(values, min_size=1, max_size=4, unique=True)


MODULE = st.sampled_from(["q_proj", "k_proj", "v_proj"])
PARAMETERS = {
    **{name: ranges("float", values) | choices(values) for name, values in NUMBERS.items()},
    **{name: ranges("int", values) | choices(values) for name, values in WHOLE.items()},
    "alpha": choices(st.none() | st.integers(1, 64)),
    "rank_stabilized": choices(st.booleans()),
    "schedule": choices(st.sampled_from(["cosine", "linear", "constant"])),
    "target_modules": st.lists(
        st.just("all-linear") | st.lists(MODULE, min_size=1, max_size=3),
        min_size=1,
        max_size=3,
        unique_by=str,
    ),
}
SPACES = st.fixed_dictionaries({}, optional=PARAMETERS).filter(bool)
FIXED = st.fixed_dictionaries({}, optional={**NUMBERS, **WHOLE, "rank_stabilized": st.booleans()})


def toy(**keys):
    return StudySpec.model_validate({"name": "t", "objective": "toy", "space": {"rank": [4, 8]}} | keys)


@given(SPACES, FIXED, st.sampled_from(["tpe", {"name": "nsga2", "population_size": 7}]))
@settings(max_examples=100, deadline=None)
def test_json_reads_back_as_the_same_study(space, fixed, sampler):
    training = {name: value for name, value in fixed.items() if name not in space}
    study = toy(space=space, training=training, sampler=sampler)
    again = StudySpec.model_validate_json(study.model_dump_json())
    assert again == study
    assert again.model_dump_json() == study.model_dump_json()
    assert again.space.distributions() == study.space.distributions()
    json.dumps(study.model_dump(mode="json"), allow_nan=False)


def test_a_spec_cannot_be_changed():
    study = toy()
    for change in (study, study.training, study.space):
        with pytest.raises(ValueError, match="frozen"):
            change.__setattr__(next(iter(type(change).model_fields)), None)


def test_metrics_are_the_studys_own_first_and_without_loss():
    assert toy(metric="bleu").metrics[0] == "bleu"
    assert toy(metric="bleu").metrics.count("bleu") == 1
    assert toy(metric="chrf", evaluation={"metrics": ["bleu", "loss"]}).metrics == ("chrf", "bleu")
    assert "loss" not in toy(metric="loss").metrics


def test_the_direction_is_the_metrics():
    assert toy(metric="loss").metric_direction is Direction.MINIMIZE
    assert toy(metric="loss", direction=None) == toy(metric="loss")
    assert toy().metric_direction is Direction.MAXIMIZE


def test_a_label_metric_is_at_home_in_classification():
    sections = {"model": {"base": "m"}, "data": {"train": "t", "task": "classification"}}
    study = StudySpec.model_validate({"name": "s", "metric": "macro_f1", "space": {"rank": [4]}} | sections)
    assert study.metrics == ("macro_f1", "accuracy", "exact_match")


def test_sampled_values_are_merged_over_the_fixed_ones():
    study = toy(training={"dropout": 0.2})
    assert study.resolve({"rank": 4}) == TrainingParameters(dropout=0.2, rank=4)
    with pytest.raises(ValueError, match="greater than or equal"):
        study.resolve({"rank": 0})


def test_alpha_is_twice_the_rank_unless_it_is_given():
    assert toy().resolve({"rank": 4}).lora_alpha == 8
    assert toy(training={"alpha": 3}).resolve({"rank": 4}).lora_alpha == 3


@pytest.mark.parametrize("model", [StudySpec, TrainingParameters])
def test_every_key_is_explained(model):
    assert [name for name, info in model.model_fields.items() if not info.description] == []


def test_extremes_bound_what_trials_may_have():
    space = {"rank": [8, 64, 16], "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3}}
    study = StudySpec.model_validate(
        {
            "name": "s",
            "metric": "loss",
            "space": space,
            "model": {"base": "b"},
            "data": {"train": "t.jsonl"},
            "training": {"batch_size": 4},
        }
    )
    assert study.extremes_of("rank") == (8, 64, 16)
    assert study.extremes_of("learning_rate") == (1e-5, 1e-3)
    assert study.extremes_of("batch_size") == (4,)
