import pytest

from loratory.objectives.events import Finished, Ready, Reported, Start, Stop, Stopped
from loratory.objectives.toy import OPTIMUM, ToyObjective, injected_fault, quality
from loratory.spaces import StudySpec, TrialSpec, resolve_trial
from loratory.spaces.packing import PackingSpec
from loratory.spaces.toy import FaultSpec


@pytest.fixture
def study() -> StudySpec:
    fields = {"name": "t", "objective": "toy", "space": {"rank": [4, 16]}, "evaluation": {"evaluations": 5}}
    return StudySpec.model_validate(fields)


def run(study: StudySpec, *, checkpoint: bytes | None = None) -> list:
    objective = ToyObjective(study)
    trial = resolve_trial(study, number=3, attempt=1, sampled={"rank": 16})
    events = objective.advance([Start(trial=trial, checkpoint=checkpoint)])
    while not isinstance(events[-1], Finished):
        events += objective.advance(())
    return events


def test_the_optimum_is_the_best_of_its_neighbours():
    best = quality(OPTIMUM, 1.0)
    for change in ({"learning_rate": 1e-4}, {"learning_rate": 1e-3}, {"rank": 8}, {"batch_size": 64}):
        assert quality(OPTIMUM.model_copy(update=change), 1.0) < best


def test_a_trial_is_the_same_twice_and_from_any_checkpoint(study):
    first = [e for e in run(study) if isinstance(e, Reported | Finished)]
    second = [e for e in run(study) if isinstance(e, Reported | Finished)]
    scores = [e.measurement.metrics for e in first[:-1]]
    assert scores == [e.measurement.metrics for e in second[:-1]]
    resumed = [e for e in run(study, checkpoint=first[1].checkpoint) if isinstance(e, Reported | Finished)]
    assert [e.measurement.metrics for e in resumed[:-1]] == scores[2:]
    assert resumed[-1].scores.aggregate == first[-1].scores.aggregate


def test_a_late_stop_of_another_trial_leaves_the_slot_alone(study):
    objective = ToyObjective(study)
    trial = resolve_trial(study, number=3, attempt=1, sampled={"rank": 16})
    assert isinstance(objective.advance([Start(trial=trial)])[0], Ready)
    events = objective.advance([Stop(key="0002", attempt=1, reason="late")])
    assert isinstance(events[0], Stopped)
    assert isinstance(events[-1], Reported)


def to_the_end(study: StudySpec, *trials: TrialSpec) -> list:
    objective = ToyObjective(study)
    events = objective.advance([Start(trial=trial) for trial in trials])
    while sum(isinstance(event, Finished) for event in events) < len(trials):
        events += objective.advance(())
    return events


def test_a_pack_gives_each_trial_what_it_gets_alone(study):
    packing = study.model_copy(update={"packing": PackingSpec(slots=3)})
    trials = [resolve_trial(study, number=n, attempt=1, sampled={"rank": 4}) for n in (0, 1, 2)]
    together = to_the_end(packing, *trials)
    assert isinstance(together[0], Ready) and together[0].capacity == 3
    for trial in trials:
        mine = [e for e in together if not isinstance(e, Ready) and e.key == trial.key]
        alone = to_the_end(study, trial)
        assert [e.measurement.metrics for e in mine if isinstance(e, Reported)] == [
            e.measurement.metrics for e in alone if isinstance(e, Reported)
        ]
        assert mine[-1].scores.aggregate == alone[-1].scores.aggregate
        assert mine[-1].resources.pack_size == 3


def test_more_starts_than_slots_are_refused_and_a_stop_before_a_start_makes_room(study):
    first, second = (resolve_trial(study, number=n, attempt=1, sampled={"rank": 4}) for n in (0, 1))
    objective = ToyObjective(study)
    objective.advance([Start(trial=first)])
    stop = Stop(key="0000", attempt=1, reason="pruned")
    assert isinstance(objective.advance([stop, Start(trial=second)])[-1], Reported)
    with pytest.raises(RuntimeError, match="must not exceed the free slots, all 1 are taken"):
        objective.advance([Start(trial=first)])


def test_faults_come_in_their_shares():
    study = {"name": "t", "objective": "toy", "space": {"rank": [4]}}
    spec = StudySpec.model_validate(study)
    faults = FaultSpec(crash=0.2, oom=0.1)
    trials = [resolve_trial(spec, number=n, attempt=1, sampled={"rank": 4}) for n in range(2000)]
    found = [injected_fault(faults, trial) for trial in trials]
    assert found.count("crash") == pytest.approx(400, abs=70)
    assert found.count("oom") == pytest.approx(200, abs=50)
    assert found.count("diverge") == 0
