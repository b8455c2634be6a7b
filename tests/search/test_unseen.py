"""No sampler asks for a point twice while others are left, and a study without repeats is as it was."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from loratory.search.samplers import build_sampler
from loratory.spaces.points import count_points, listed_values
from loratory.spaces.samplers import SamplerName

NAMES = [name for name in SamplerName if name is not SamplerName.GRID]
SMALL = {"rank": [2, 8], "epochs": {"type": "int", "low": 1, "high": 3}}
STEPPED = {"dropout": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1}, "rank": [2, 8]}
FLOAT = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True}, "rank": [2, 8]}
GP_PEAK = 3e-4


def walk(study, trials, tell):
    """The points that a study's samplers ask for, one trial after the other."""
    rows = optuna.create_study(direction="maximize")
    space = study.space.distributions()
    for number in range(trials):
        rows.sampler = build_sampler(study, number)
        trial = rows.ask(space)
        tell(rows, trial)
    return points_of(rows)


def points_of(rows):
    return [
        tuple(round(v, 9) if isinstance(v, float) else v for v in row.params.values())
        for row in rows.get_trials()
    ]


def complete(rows, trial):
    rows.tell(trial, -trial.number % 5)


def prune_most(rows, trial):
    trial.report(0.0, 1)
    if trial.number % 3:
        rows.tell(trial, state=TrialState.PRUNED)
    else:
        rows.tell(trial, -abs(trial.params.get("learning_rate", 0) - GP_PEAK))


@pytest.mark.parametrize("space", [SMALL, STEPPED], ids=["lists", "steps"])
@pytest.mark.parametrize("name", NAMES)
def test_a_small_space_is_walked_whole_before_a_point_comes_again(name, space, toy_study):
    study = toy_study(
        sampler={"name": name, "startup_trials": 3} if name in ("tpe", "gp") else name, space=space
    )
    points = count_points(study.space.distributions())
    asked = walk(study, points + 2, complete)
    assert len(set(asked[:points])) == points
    assert set(asked[points:]) <= set(asked[:points])


def test_gp_does_not_repeat_a_pruned_point(toy_study):
    study = toy_study(sampler={"name": "gp", "startup_trials": 4}, space=FLOAT)
    assert len(set(walk(study, 16, prune_most))) == 16
    assert len(set(walk_bare(study, 16, prune_most))) < 16, "Optuna has learned it: is the redraw needed?"


def walk_bare(study, trials, tell):
    rows = optuna.create_study(direction="maximize")
    space = study.space.distributions()
    for number in range(trials):
        rows.sampler = build_sampler(study, number)._inner
        tell(rows, rows.ask(space))
    return points_of(rows)


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "gp"])
def test_a_study_without_repeats_is_as_optuna_samples_it(name, pruner, toy_study):
    study = toy_study(
        sampler=name,
        space={"learning_rate": FLOAT["learning_rate"], "rank": {"type": "int", "low": 1, "high": 1024}},
    )
    assert walk(study, 14, complete) == walk_bare(study, 14, complete)


def test_points_are_counted_where_their_number_is_finite():
    assert listed_values(IntDistribution(2, 8, step=3)) == [2, 5, 8]
    assert count_points({"a": IntDistribution(2, 8, step=3), "b": CategoricalDistribution(["x", None])}) == 6
    assert count_points({"a": FloatDistribution(0.1, 0.5, step=0.1)}) == 5
    assert count_points({"a": FloatDistribution(0.1, 0.1), "b": IntDistribution(1, 4)}) == 4
    assert count_points({"a": FloatDistribution(0.1, 0.5)}) is None
