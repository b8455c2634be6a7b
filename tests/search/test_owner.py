import json

import optuna
import pytest

from loratory.objectives.events import Failed, Finished, Progressed, Reported, Start
from loratory.objectives.records import CurvePoint, FailureKind, Measurement, Resources, TrialState
from loratory.objectives.scores import ScoreTable
from loratory.objectives.toy import ToyObjective
from loratory.search import optuna_rows


def test_a_study_ends_with_as_many_trials_as_asked_and_agrees_with_optuna(
    toy_study, open_study, assert_agreement
):
    opened = open_study(toy_study(trials=15))
    opened.play()
    states = [record.state for record in opened.folder.read_records()]
    assert len(states) == 15
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert_agreement(opened.rows, opened.folder)


def test_a_pruned_trial_is_pruned_in_optuna_with_its_intermediate_values(toy_study, open_study):
    opened = open_study(toy_study(trials=15))
    opened.play()
    pruned = next(r for r in opened.folder.read_records() if r.state is TrialState.PRUNED)
    row = opened.rows.trials[pruned.number]
    assert row.state is optuna.trial.TrialState.PRUNED
    assert list(row.intermediate_values) == [1, 2]
    assert pruned.values is None
    assert "median pruner: rougeL" in pruned.reason


def test_a_diverged_trial_is_pruned_and_not_tried_again(toy_study, open_study, assert_agreement):
    opened = open_study(toy_study(trials=3, toy={"faults": {"diverge": 1.0}}))
    opened.play()
    records = opened.folder.read_records()
    assert [(r.state, r.attempt) for r in records] == [(TrialState.PRUNED, 1)] * 3
    assert all(r.reason.startswith("diverged:") for r in records)
    assert all(r.resources.device == "toy" and r.resources.peak_memory_bytes_pack > 0 for r in records)
    assert_agreement(opened.rows, opened.folder)


def test_out_of_memory_is_a_constraint_that_does_not_count(toy_study, open_study, assert_agreement):
    opened = open_study(toy_study(trials=12, toy={"faults": {"oom": 0.4}}))
    opened.play()
    records = opened.folder.read_records()
    infeasible = [r for r in records if r.state is TrialState.INFEASIBLE]
    assert infeasible
    assert len(records) - len(infeasible) == 12
    row = opened.rows.trials[infeasible[0].number]
    assert row.state is optuna.trial.TrialState.PRUNED
    assert all(value > 0 for value in row.constraints.values())
    assert_agreement(opened.rows, opened.folder)


def test_what_is_left_of_a_study(toy_study, open_study):
    opened = open_study(toy_study(trials=6, pruner="none"))
    assert (opened.owner.left(new=True), opened.owner.left(new=False)) == (6, 0)
    opened.play(steps=10)
    assert (opened.owner.left(new=True), opened.owner.left(new=False)) == (4, 1)


def test_nothing_is_left_of_a_grid_with_an_infeasible_point(toy_study, open_study):
    faults = {"faults": {"oom": 0.4}}
    study = toy_study(trials=20, sampler="grid", space={"rank": [2, 4, 8], "epochs": [1, 2]}, toy=faults)
    opened = open_study(study)
    opened.play()
    assert TrialState.INFEASIBLE in {record.state for record in opened.folder.read_records()}
    assert opened.owner.left(new=True) == 0


def test_a_flaky_trial_keeps_its_number_and_ends_complete(toy_study, open_study, assert_agreement):
    study = toy_study(trials=4, pruner="none", toy={"faults": {"flaky": 0.5}}, seed=1)
    opened = open_study(study)
    opened.play()
    records = opened.folder.read_records()
    assert {r.state for r in records} == {TrialState.COMPLETE}
    assert {r.attempt for r in records} == {1, 2}
    retried = next(r for r in records if r.attempt == 2)
    assert [failure.kind for failure in retried.failures] == [FailureKind.CRASHED]
    assert_agreement(opened.rows, opened.folder)


def test_a_trial_that_always_crashes_fails_after_its_last_attempt_and_does_not_stop_the_study(
    toy_study, open_study, assert_agreement
):
    opened = open_study(toy_study(trials=10, pruner="none", toy={"faults": {"crash": 0.3}}, seed=3))
    opened.play()
    records = opened.folder.read_records()
    failed = [r for r in records if r.state is TrialState.FAIL]
    assert 0 < len(failed) < 10 == len(records)
    assert all(len(r.failures) == 2 for r in failed)
    assert_agreement(opened.rows, opened.folder)


def test_three_equal_failures_before_any_success_stop_the_study(toy_study, open_study):
    opened = open_study(toy_study(toy={"faults": {"crash": 1.0}}))
    opened.play()
    assert opened.owner.stop_reason is not None
    assert "injected fault: crash" in opened.owner.stop_reason
    assert sum(len(r.failures) for r in opened.folder.read_records()) == 3


def test_a_crash_between_record_and_row_is_mended_on_the_next_start(
    toy_study, open_study, assert_agreement, monkeypatch
):
    study = toy_study(trials=1)
    opened = open_study(study)
    monkeypatch.setattr("loratory.search.owner.tell_row", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        opened.play()
    assert opened.rows.trials[0].state is optuna.trial.TrialState.RUNNING
    monkeypatch.undo()
    again = open_study(study)
    assert again.resumed.unfinished == 0
    again.play()
    assert len(again.rows.trials) == 1
    assert_agreement(again.rows, again.folder)


def test_an_interrupted_trial_goes_on_from_its_checkpoint_with_the_same_curve(toy_study, open_study):
    study = toy_study(trials=1, pruner="none")
    whole = open_study(toy_study(trials=1, pruner="none", name="whole"))
    whole.play()
    open_study(study).play(steps=2)
    again = open_study(study)
    start = again.owner.ask(new=True)
    assert start is not None and start.checkpoint is not None
    assert (start.trial.number, start.trial.attempt) == (0, 2)
    assert json.loads(start.checkpoint)["step"] == 2
    third = open_study(study)
    third.play()
    resumed, straight = third.folder.read_records()[0], whole.folder.read_records()[0]
    assert [m.metrics for m in resumed.measurements] == [m.metrics for m in straight.measurements]
    assert resumed.values == straight.values
    assert third.folder.read_curve("0000") == whole.folder.read_curve("0000")


def test_an_ask_cut_short_is_completed_and_wastes_no_row(
    toy_study, open_study, assert_agreement, monkeypatch
):
    study = toy_study(trials=2)
    opened = open_study(study)

    def suggest_one(trial, distributions):
        name, distribution = next(iter(distributions.items()))
        optuna_rows._suggest(trial, name, distribution)
        raise KeyboardInterrupt

    monkeypatch.setattr("loratory.search.owner.suggest", suggest_one)
    with pytest.raises(KeyboardInterrupt):
        opened.owner.ask(new=True)
    monkeypatch.undo()
    first = opened.rows.trials[0].params["learning_rate"]
    again = open_study(study)
    again.play()
    records = again.folder.read_records()
    assert len(records) == 2
    assert records[0].params["learning_rate"] == first
    assert_agreement(again.rows, again.folder)


def test_an_event_of_a_dead_attempt_is_not_current(toy_study, open_study):
    opened = open_study(toy_study())
    start = opened.owner.ask(new=True)
    assert isinstance(start, Start)
    failed = Failed(key="0000", attempt=1, kind=FailureKind.WORKER_LOST, message="gone")
    opened.owner.failed(failed)
    second = opened.owner.ask(new=True)
    assert second is not None and second.trial.attempt == 2
    assert second.trial.seed == start.trial.seed
    assert not opened.owner.is_current("0000", 1)
    assert opened.owner.is_current("0000", 2)


def test_a_repeated_step_overwrites_the_dead_attempts_value(toy_study, open_study):
    opened = open_study(toy_study())
    opened.owner.ask(new=True)
    for value in (0.1, 0.7):
        measurement = Measurement(
            step=1,
            optimizer_steps=1,
            examples_seen=1,
            tokens_seen=1,
            elapsed_seconds=1,
            metrics={"rougeL": value},
        )
        event = Reported(key="0000", attempt=1, measurement=measurement, resources=Resources())
        opened.owner.reported(event)
    assert opened.rows.trials[0].intermediate_values == {1: 0.7}
    assert [m.metrics["rougeL"] for m in opened.owner.records["0000"].measurements] == [0.7]


def report(opened, start: Start, step: int, value: float, *, checkpoint: bytes | None = None):
    trial, seen = start.trial, {"examples_seen": 1, "tokens_seen": 1, "elapsed_seconds": 1}
    measurement = Measurement(step=step, optimizer_steps=10 * step, metrics={"rougeL": value}, **seen)
    event = Reported(
        key=trial.key,
        attempt=trial.attempt,
        measurement=measurement,
        resources=Resources(),
        checkpoint=checkpoint,
    )
    return opened.owner.reported(event)


def complete(opened, *, value: float) -> None:
    """Ask a trial and let it end well, with the same value at every evaluation."""
    start = opened.owner.ask(new=True)
    for step in (1, 2, 3, 4):
        assert report(opened, start, step, value) is None
    opened.owner.finished(finished(start, value))


def finished(start: Start, value: float) -> Finished:
    aggregate = dict.fromkeys(("rougeL", "loss"), value)
    empty = {"example_ids": (), "groups": (), "metrics": {}, "statistics": {}, "signatures": {}}
    return Finished(
        key=start.trial.key,
        attempt=start.trial.attempt,
        reason="end",
        best_step=1,
        scores=ScoreTable(aggregate=aggregate, **empty),
        predictions=(),
        adapter={},
        resources=Resources(),
    )


def lose(opened, start: Start, *, neighbours: int = 0) -> None:
    trial, kind = start.trial, FailureKind.WORKER_LOST
    opened.owner.failed(
        Failed(key=trial.key, attempt=trial.attempt, kind=kind, message="gone", neighbours=neighbours)
    )


def test_a_retry_from_an_older_checkpoint_overwrites_what_was_measured_after_it(
    toy_study, open_study, assert_agreement
):
    changes = {"trials": 1, "pruner": "none", "evaluation": {"evaluations": 5}}
    whole = open_study(toy_study(name="whole", **changes))
    whole.play()
    study = toy_study(toy={"evaluations_per_checkpoint": 2}, **changes)
    open_study(study).play(steps=3)
    again = open_study(study)
    assert [m.step for m in again.owner.records["0000"].measurements] == [1, 2, 3]
    start = again.owner.ask(new=True)
    assert start is not None and start.checkpoint is not None
    assert json.loads(start.checkpoint)["step"] == 2, "an evaluation without one keeps the one before"
    report(again, start, 3, 0.123)
    assert again.rows.trials[0].intermediate_values[3] == 0.123
    assert [m.step for m in again.owner.records["0000"].measurements] == [1, 2, 3]
    last = open_study(study)
    last.play()
    resumed, straight = last.folder.read_records()[0], whole.folder.read_records()[0]
    assert [m.metrics for m in resumed.measurements] == [m.metrics for m in straight.measurements]
    assert last.folder.read_curve("0000") == whole.folder.read_curve("0000")
    assert_agreement(last.rows, last.folder)


def test_a_retry_is_not_judged_again_where_the_trial_went_on_before(toy_study, open_study):
    pruner = {"name": "median", "startup_trials": 2, "warmup_evaluations": 0}
    opened = open_study(toy_study(pruner=pruner))
    first = opened.owner.ask(new=True)
    assert report(opened, first, 1, 0.1, checkpoint=b"one") is None, "nothing to compare with yet"
    assert report(opened, first, 2, 0.2) is None
    assert report(opened, first, 3, 0.15) is None
    for _ in range(2):
        complete(opened, value=0.9)
    lose(opened, first)
    retry = opened.owner.ask(new=True)
    assert (retry.trial.number, retry.checkpoint) == (0, b"one")
    assert report(opened, retry, 2, 0.21) is None, "judged by the first attempt"
    assert report(opened, retry, 3, 0.16) is not None, "the crash may have come before this was judged"
    record = opened.owner.records["0000"]
    assert record.state is TrialState.PRUNED
    assert [m.metrics["rougeL"] for m in record.measurements] == [0.1, 0.21, 0.16]
    assert opened.rows.trials[0].intermediate_values == {1: 0.1, 2: 0.21, 3: 0.16}


def test_a_trial_lost_with_its_neighbours_twice_runs_alone_also_after_a_restart(toy_study, open_study):
    study = toy_study(trials=1, attempts=2)
    opened = open_study(study)
    for _ in range(2):
        assert not opened.owner.runs_alone("0000")
        lose(opened, opened.owner.ask(new=True, empty=False), neighbours=3)
    again = open_study(study)
    assert again.owner.runs_alone("0000")
    assert again.owner.has_work(new=True)
    assert again.owner.ask(new=True, empty=False) is None
    alone = again.owner.ask(new=True, empty=True)
    assert alone.trial.attempt == 3
    lose(again, alone)
    assert again.owner.records["0000"].state is TrialState.FAIL


@pytest.mark.parametrize("pruned", [True, False])
def test_steps_made_while_the_last_evaluation_was_scored_are_no_part_of_the_curve(
    pruned, toy_study, open_study
):
    pruner = {"name": "median", "startup_trials": 1, "warmup_evaluations": 0}
    opened = open_study(toy_study(pruner=pruner))
    complete(opened, value=0.9)
    start = opened.owner.ask(new=True)
    points = tuple(
        CurvePoint(optimizer_step=step, loss=1.0, learning_rate=0.1, grad_norm=1.0, tokens_seen=step)
        for step in range(1, 15)
    )
    opened.owner.progressed(Progressed(key="0001", attempt=1, points=points))
    assert (report(opened, start, 1, 0.1 if pruned else 0.95) is not None) is pruned
    if not pruned:
        assert len(opened.folder.read_curve("0001")) == 14, "it trains on"
        opened.owner.finished(finished(start, 0.9))
    assert opened.owner.records["0001"].state.finished
    assert opened.folder.read_curve("0001") == list(points[:10])


def test_the_same_study_asks_the_same_trials_twice(toy_study, open_study):
    first, second = open_study(toy_study(name="a")), open_study(toy_study(name="b"))
    first.play(ToyObjective(first.study))
    second.play(ToyObjective(second.study))
    assert [r.params for r in first.folder.read_records()] == [r.params for r in second.folder.read_records()]
