import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.study import create_study
from optuna.trial import FixedTrial

from loratory.spaces import SearchSpace
from loratory.spaces.training import Schedule, TrainingParameters

MODULES = [["q_proj", "v_proj"], "all-linear"]


def space(**parameters):
    return SearchSpace.model_validate(parameters)


@pytest.mark.parametrize(
    ("name", "written", "distribution"),
    [
        (
            "learning_rate",
            {"type": "float", "low": 1e-5, "high": 1e-3, "log": True},
            FloatDistribution(1e-5, 1e-3, log=True),
        ),
        (
            "dropout",
            {"type": "float", "low": 0, "high": 0.3, "step": 0.1},
            FloatDistribution(0, 0.3, step=0.1),
        ),
        ("weight_decay", {"type": "float", "low": 0, "high": 0.1}, FloatDistribution(0, 0.1)),
        ("epochs", {"type": "int", "low": 1, "high": 4}, IntDistribution(1, 4)),
        ("rank", {"type": "int", "low": 4, "high": 64, "log": True}, IntDistribution(4, 64, log=True)),
        ("batch_size", {"type": "int", "low": 8, "high": 64, "step": 8}, IntDistribution(8, 64, step=8)),
        ("rank", [4, 8], CategoricalDistribution([4, 8])),
        ("rank", (4, 8), CategoricalDistribution([4, 8])),
        ("rank", {"type": "categorical", "choices": [4, 8]}, CategoricalDistribution([4, 8])),
        ("learning_rate", ["1e-4", 3e-4], CategoricalDistribution([1e-4, 3e-4])),
        ("rank_stabilized", [True, False], CategoricalDistribution([True, False])),
        ("alpha", [None, 32], CategoricalDistribution([None, 32])),
        ("schedule", ["cosine", "linear"], CategoricalDistribution(["cosine", "linear"])),
        (
            "target_modules",
            MODULES,
            CategoricalDistribution(['["q_proj", "v_proj"]', "all-linear"]),
        ),
    ],
)
def test_each_parameter_is_the_optuna_distribution_it_says(name, written, distribution):
    assert space(**{name: written}).distributions() == {name: distribution}


def test_optuna_samples_it_and_the_values_train():
    searched = space(
        learning_rate={"type": "float", "low": 1e-5, "high": 1e-3, "log": True},
        rank={"type": "int", "low": 4, "high": 64, "log": True},
        dropout={"type": "float", "low": 0, "high": 0.3, "step": 0.1},
        target_modules=MODULES,
        schedule=["cosine", "linear"],
        alpha=[None, 32],
    )
    study = create_study(sampler=RandomSampler(seed=0))
    seen = set()
    for _ in range(20):
        params = searched.decode(study.ask(searched.distributions()).params)
        training = TrainingParameters.model_validate(params)
        assert training.schedule in (Schedule.COSINE, Schedule.LINEAR)
        assert params["target_modules"] in MODULES
        seen.add(training.target_modules)
        json.dumps(params)
    assert seen == {("q_proj", "v_proj"), "all-linear"}


def test_a_list_among_choices_comes_back_as_a_list():
    searched = space(target_modules=(("q_proj", "v_proj"), "all-linear"))
    stored = searched.distributions()["target_modules"].choices
    trial = FixedTrial({"target_modules": stored[0]})
    value = trial.suggest_categorical("target_modules", stored)
    assert searched.decode({"target_modules": value}) == {"target_modules": ["q_proj", "v_proj"]}


@given(st.integers(1, 1024), st.integers(1, 1024), st.booleans(), st.none() | st.integers(1, 64))
def test_every_int_range_that_is_accepted_makes_a_distribution_with_its_bounds(low, high, log, step):
    try:
        searched = space(rank={"type": "int", "low": low, "high": high, "log": log, "step": step})
    except ValueError:
        whole = step is None or (high - low) % step == 0
        assert low > high or (log and step is not None) or not whole
        return
    distribution = searched.distributions()["rank"]
    assert (distribution.low, distribution.high, distribution.log) == (low, high, log)


@given(st.integers(0, 50), st.integers(1, 50), st.sampled_from([0.1, 0.01, 0.001, 0.3, 0.07]))
def test_float_steps_are_counted_in_decimals(first, steps, step):
    low, high = round(first * step, 6), round((first + steps) * step, 6)
    written = {"type": "float", "low": low, "high": high, "step": step}
    assert space(epochs=written | {"low": low or step}).root["epochs"].high == high
