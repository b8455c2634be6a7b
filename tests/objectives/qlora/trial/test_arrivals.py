import threading
import time

import pytest

from loratory.objectives.events import Start
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.trial.arrivals import Arrivals, new_trial
from loratory.objectives.qlora.trial.trial import Selection
from loratory.objectives.stopping import NeverStop
from loratory.spaces.errors import LoratoryError
from loratory.spaces.metric_names import Direction

SELECTION = Selection(metric="loss", direction=Direction.MINIMIZE, rule=NeverStop())


@pytest.fixture
def make_arrivals(make_study):
    architecture = read_architecture(resolve_base(make_study().model))
    return lambda threads: Arrivals(
        architecture, SELECTION, train_examples=24, evaluations=3, threads=threads
    )


@pytest.fixture
def arrivals(make_arrivals):
    return make_arrivals(1)


def all_of(arrivals):
    arrived = []
    while len(arrivals):
        arrived += arrivals.arrived(awaited=0)
        time.sleep(0.01)
    return arrived


def test_trials_arrive_made_and_each_once(arrivals, make_study, make_trial):
    for number in range(3):
        arrivals.expect(Start(trial=make_trial(make_study(), number, rank=number + 1)))
    assert len(arrivals) == 3
    arrived = all_of(arrivals)
    assert [trial.number for trial, _ in arrived] == [0, 1, 2]
    assert [run.adapter.config.r for _, run in arrived] == [1, 2, 3]
    assert arrivals.arrived(awaited=8) == []


def test_the_first_is_waited_for_where_there_is_nothing_else_to_do(arrivals, make_study, make_trial):
    arrivals.expect(Start(trial=make_trial(make_study(), 4)))
    ((trial, run),) = arrivals.arrived(awaited=8)
    assert (trial.number, run.key) == (4, ("0004", 1))


@pytest.fixture
def may_come(monkeypatch):
    """Lets trial 1 be made."""
    event = threading.Event()

    def make_late(start, **given):
        if start.trial.number == 1:
            assert event.wait(60)
        return new_trial(start, **given)

    monkeypatch.setattr("loratory.objectives.qlora.trial.arrivals.new_trial", make_late)
    yield event
    event.set()


def set_seconds_for_company(monkeypatch, seconds):
    monkeypatch.setattr("loratory.objectives.qlora.trial.arrivals._SECONDS_FOR_COMPANY", seconds)


def test_as_many_as_have_a_slot_are_waited_for(make_arrivals, make_study, make_trial, monkeypatch, may_come):
    set_seconds_for_company(monkeypatch, 60)
    arrivals = make_arrivals(2)
    for number in (0, 2, 3, 1):
        arrivals.expect(Start(trial=make_trial(make_study(), number)))
    assert [trial.number for trial, _ in arrivals.arrived(awaited=3)] == [0, 2, 3]


def test_a_late_trial_keeps_the_others_for_a_while_only(
    make_arrivals, make_study, make_trial, monkeypatch, may_come
):
    set_seconds_for_company(monkeypatch, 0.2)
    arrivals = make_arrivals(2)
    for number in range(3):
        arrivals.expect(Start(trial=make_trial(make_study(), number)))
    arrived = arrivals.arrived(awaited=3)
    assert 0 < len(arrived) < 3 and 1 not in {trial.number for trial, _ in arrived}
    may_come.set()
    assert {trial.number for trial, _ in arrived + all_of(arrivals)} == {0, 1, 2}


def test_what_goes_wrong_arrives_too(arrivals, make_study, make_trial):
    trial = make_trial(make_study(), 1, target_modules=("no_such_layer",))
    arrivals.expect(Start(trial=trial))
    ((failed, error),) = all_of(arrivals)
    assert failed is trial and isinstance(error, LoratoryError) and "no_such_layer" in str(error)


def test_a_trial_that_was_stopped_does_not_arrive(arrivals, make_study, make_trial):
    for number in range(2):
        arrivals.expect(Start(trial=make_trial(make_study(), number, attempt=2)))
    arrivals.cancel("0000", 1)  # an attempt that is gone
    arrivals.cancel("0001", 2)
    assert [trial.number for trial, _ in all_of(arrivals)] == [0]
