import optuna
import pytest

from loratory.search.samplers import build_sampler, grid, trial_limit
from loratory.spaces.samplers import SamplerName

GRID_SPACE = {
    "learning_rate": {"type": "float", "low": 0.1, "high": 0.5, "step": 0.1},
    "rank": {"type": "int", "low": 4, "high": 16, "step": 4},
    "schedule": ["cosine", "linear"],
}


@pytest.mark.parametrize("name", [name for name in SamplerName if name is not SamplerName.GRID])
def test_every_sampler_carries_a_study_to_its_end(name, toy_study, open_study, assert_agreement):
    opened = open_study(toy_study(trials=14, sampler=name, toy={"faults": {"diverge": 0.1, "oom": 0.1}}))
    opened.play()
    finished = [r for r in opened.folder.read_records() if r.state != "INFEASIBLE"]
    assert len(finished) == 14
    assert_agreement(opened.rows, opened.folder)


def test_the_grid_is_walked_once_and_bounds_the_study(toy_study, open_study, assert_agreement):
    space = {"rank": [2, 8], "epochs": {"type": "int", "low": 1, "high": 3}}
    study = toy_study(trials=100, sampler="grid", space=space, pruner="none")
    opened = open_study(study)
    opened.play()
    points = [tuple(sorted(r.params.items())) for r in opened.folder.read_records()]
    assert len(points) == len(set(points)) == 6 == trial_limit(study)
    assert_agreement(opened.rows, opened.folder)


def test_grid_values_include_both_ends_in_spite_of_rounding(toy_study):
    values = grid(toy_study(sampler="grid", space=GRID_SPACE))
    assert values["learning_rate"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert values["rank"] == [4, 8, 12, 16]
    assert values["schedule"] == ["cosine", "linear"]


def test_the_sampler_of_a_trial_depends_on_study_seed_and_number(toy_study):
    def sample(seed: int, number: int) -> float:
        study = optuna.create_study(sampler=build_sampler(toy_study(seed=seed, sampler="random"), number))
        return study.ask(toy_study().space.distributions()).params["learning_rate"]

    assert sample(0, 3) == sample(0, 3)
    assert len({sample(0, 3), sample(0, 4), sample(1, 3)}) == 3


def test_tpe_finds_the_optimum_of_the_toy(toy_study, open_study):
    opened = open_study(toy_study(trials=40))
    opened.play()
    best = opened.owner.best()
    assert best is not None
    assert 5e-5 < best.params["learning_rate"] < 2e-3
