import threading
import time

import pytest
import torch

from loratory.objectives.events import Start
from loratory.objectives.qlora.architecture import read_architecture
from loratory.objectives.qlora.arrivals import Arrivals
from loratory.objectives.qlora.reference import resolve_base
from loratory.objectives.qlora.trial_run import new_run
from loratory.spaces.errors import LoratoryError


@pytest.fixture
def make_arrivals(make_study):
    architecture = read_architecture(resolve_base(make_study().model))
    return lambda threads: Arrivals(architecture, train_examples=24, evaluations=3, threads=threads)


@pytest.fixture
def arrivals(make_arrivals):
    return make_arrivals(1)


def all_of(arrivals):
    arrived = []
    while len(arrivals):
        arrived += arrivals.arrived(idle=False)
        time.sleep(0.01)
    return arrived


def test_trials_arrive_made_and_each_once(arrivals, make_study, make_trial):
    for number in range(3):
        arrivals.expect(Start(trial=make_trial(make_study(), number, rank=number + 1)))
    assert len(arrivals) == 3
    arrived = all_of(arrivals)
    assert [trial.number for trial, _ in arrived] == [0, 1, 2]
    assert [run.adapter.config.r for _, run in arrived] == [1, 2, 3]
    assert arrivals.arrived(idle=True) == []


def test_trials_made_at_once_have_the_values_of_trials_made_one_by_one(make_arrivals, make_study, make_trial):
    made = []
    for threads in (1, 4):
        arrivals = make_arrivals(threads)
        for number in range(12):
            arrivals.expect(Start(trial=make_trial(make_study(), number, rank=8)))
        made.append({trial.number: run.adapter.state for trial, run in all_of(arrivals)})
    assert made[0].keys() == made[1].keys() == set(range(12))
    for number, state in made[0].items():
        assert all(torch.equal(made[1][number][name], matrix) for name, matrix in state.items())


def test_the_first_is_waited_for_where_there_is_nothing_else_to_do(arrivals, make_study, make_trial):
    arrivals.expect(Start(trial=make_trial(make_study(), 4)))
    ((trial, run),) = arrivals.arrived(idle=True)
    assert (trial.number, run.key) == (4, (4, 1))


def test_trials_begin_together_where_there_is_nothing_else_to_do(make_arrivals, make_study, make_trial):
    arrivals = make_arrivals(2)
    for number in range(6):
        arrivals.expect(Start(trial=make_trial(make_study(), number)))
    assert [trial.number for trial, _ in arrivals.arrived(idle=True)] == list(range(6))


def test_a_late_trial_keeps_the_others_for_a_second_at_most(
    make_arrivals, make_study, make_trial, monkeypatch
):
    may_come = threading.Event()
    make = new_run

    def make_late(start, **given):
        if start.trial.number == 1:
            may_come.wait()
        return make(start, **given)

    monkeypatch.setattr("loratory.objectives.qlora.arrivals.new_run", make_late)
    arrivals = make_arrivals(2)
    for number in range(3):
        arrivals.expect(Start(trial=make_trial(make_study(), number)))
    assert [trial.number for trial, _ in arrivals.arrived(idle=True)] == [0, 2]
    may_come.set()
    assert [trial.number for trial, _ in arrivals.arrived(idle=True)] == [1]


def test_what_goes_wrong_arrives_too(arrivals, make_study, make_trial):
    trial = make_trial(make_study(), 1, target_modules=("no_such_layer",))
    arrivals.expect(Start(trial=trial))
    ((failed, error),) = all_of(arrivals)
    assert failed is trial and isinstance(error, LoratoryError) and "no_such_layer" in str(error)


def test_a_trial_that_was_stopped_does_not_arrive(arrivals, make_study, make_trial):
    for number in range(2):
        arrivals.expect(Start(trial=make_trial(make_study(), number, attempt=2)))
    arrivals.cancel(0, 1)  # an attempt that is gone
    arrivals.cancel(1, 2)
    assert [trial.number for trial, _ in all_of(arrivals)] == [0]
