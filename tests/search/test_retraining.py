"""The best settings, trained again on new seeds: through the same driver, and apart from the search."""

import pytest
from rich.console import Console

from loratory.objectives.events import Failed, Finished, Ready, Start
from loratory.objectives.records import FailureKind, Provenance, Resources, TrialRecord, TrialState
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.ranking import order
from loratory.search import confirm_study, run_study
from loratory.search.ledger import TrialLedger
from loratory.search.optuna_rows import open_rows
from loratory.search.owners import SearchThenRetraining
from loratory.search.retraining import RetrainingOwner
from loratory.search.status import render_status, study_status
from loratory.search.trial_memory import TrialMemory, Workforce
from loratory.spaces import StudySpec
from loratory.spaces.confirmation import ConfirmationSpec
from loratory.spaces.trial import derive_seed, trial_key


def contents(folder: StudyFolder) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.path.glob("trials/**/*") if p.is_file()}


def best_two(folder: StudyFolder) -> list[TrialRecord]:
    return order(folder.read_records(), folder.read_manifest().spec.metric_direction)[:2]


@pytest.fixture
def study(toy_study) -> StudySpec:
    return toy_study(trials=6, sampler="random", packing={"slots": 4}, confirmation={"top": 2, "seeds": 3})


@pytest.fixture
def folder(tmp_path) -> StudyFolder:
    return StudyFolder(tmp_path / "toy")


def test_a_run_goes_on_to_new_seeds_of_its_best_settings_and_keeps_them_apart(study, folder, tmp_path):
    result = run_study(study, runs=tmp_path, local=True)
    retrained = folder.read_retrained()
    best = best_two(folder)
    assert sorted(r.key for r in retrained) == sorted(
        f"confirm/{trial.key}-{index}" for trial in best for index in (1, 2, 3)
    )
    for record in retrained:
        number, index = int(record.key[8:12]), int(record.key[-1])
        assert (record.state, record.number) == (TrialState.COMPLETE, None)
        assert record.params == folder.read_record(trial_key(number)).params
        assert record.provenance.seed == derive_seed(study.seed, number, index)
        assert set(record.files) == {"scores.npz", "predictions.jsonl"}
        assert len(record.measurements) == 4, "pruned by nothing"
    assert len({record.provenance.seed for record in (*retrained, *best)}) == 8
    assert max(record.resources.pack_size for record in retrained) == 4, "they share a pack"
    ends = [record.finished_at for record in folder.read_records()]
    assert max(ends) <= min(record.started_at for record in retrained), "the search comes first"
    # Nobody but the report's own section hears of them.
    assert len(open_rows(folder, folder.read_manifest()).get_trials()) == 6
    assert result.best.key == result.comparison.choice.key, "an adapter trained anew may be published"
    assert result.comparison.best.key == best[0].key
    assert (study_status(folder).done, sum(result.comparison.counts.values())) == (6, 6)


def test_the_search_is_as_it_is_without_confirmation(study, folder, tmp_path):
    alone = study.model_copy(update={"confirmation": None})
    run_study(alone, runs=tmp_path / "alone", local=True)
    run_study(study, runs=tmp_path, local=True)
    expected = [
        (r.key, r.state, r.params, r.values) for r in StudyFolder(tmp_path / "alone/toy").read_records()
    ]
    assert [(r.key, r.state, r.params, r.values) for r in folder.read_records()] == expected


def test_run_twice_trains_nothing_again_and_more_trains_only_what_is_new(study, folder, tmp_path):
    run_study(study, runs=tmp_path, local=True)
    before = contents(folder)
    run_study(study, runs=tmp_path, local=True)
    confirm_study(folder, local=True)
    assert contents(folder) == before
    confirm_study(folder, top=3, local=True)
    after = contents(folder)
    assert len(folder.read_retrained()) == 9
    assert {name: after[name] for name in before} == before


def test_what_confirm_is_asked_for_is_kept_in_the_study_folder_and_run_does_not_begin_it(
    folder, study, tmp_path
):
    alone = study.model_copy(update={"confirmation": None})
    run_study(alone, runs=tmp_path, local=True)
    confirm_study(folder, top=1, seeds=2, local=True)
    first = [record.key for record in folder.read_retrained()]
    assert len(first) == 2
    run_study(alone, runs=tmp_path, local=True)
    assert folder.read_manifest().spec.confirmation == ConfirmationSpec(top=1, seeds=2)
    run_study(alone.model_copy(update={"trials": 12}), runs=tmp_path, local=True)
    assert [record.key for record in folder.read_retrained()] == first, "its file asks for none"
    confirm_study(folder, seeds=3, local=True)
    assert {r.key for r in folder.read_retrained()} >= {f"confirm/{best_two(folder)[0].key}-3"}


def test_confirm_needs_no_storage(study, folder, tmp_path):
    run_study(study.model_copy(update={"confirmation": None}), runs=tmp_path, local=True)
    folder.database.unlink()
    confirm_study(folder, local=True)
    assert len(folder.read_retrained()) == 15 and not folder.database.exists()


def test_a_time_limit_ends_the_search_and_not_the_retraining(study, folder, tmp_path):
    limited = study.model_copy(update={"trials": 50, "time_limit_minutes": 1e-6})
    run_study(study.model_copy(update={"confirmation": None}), runs=tmp_path, local=True)
    run_study(limited, runs=tmp_path, local=True)
    assert (len(folder.read_records()), len(folder.read_retrained())) == (6, 6)


def test_failed_attempts_are_tried_again_and_counted(toy_study, folder, tmp_path):
    faults = {"flaky": 0.9}
    study = toy_study(trials=3, pruner="none", toy={"faults": faults}, confirmation={"top": 2, "seeds": 2})
    run_study(study, runs=tmp_path, local=True)
    retrained = folder.read_retrained()
    assert [record.state for record in retrained] == [TrialState.COMPLETE] * 4
    assert {tuple(a.end for a in r.attempts) for r in retrained} >= {("own_fault", "finished")}


def test_what_diverges_has_no_score_and_is_named_apart(toy_study, folder, tmp_path):
    study = toy_study(trials=8, pruner="none", toy={"faults": {"diverge": 0.4}}, confirmation={"seeds": 6})
    run_study(study, runs=tmp_path, local=True)
    states = {record.state for record in folder.read_retrained()}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    found = compare(folder).retrained
    unscored = [run for settings in found.settings for run in settings.unscored]
    assert len(found.runs) + len(unscored) == 18
    assert all(run.reason.startswith("diverged") for run in unscored)
    assert not found.provisional


def test_status_shows_them_apart(study, folder, tmp_path):
    run_study(study, runs=tmp_path, local=True)
    again = folder.read_retrained()[0]
    console = Console(width=120, record=True)
    console.print(render_status(study_status(folder)))
    assert "toy: done" in (text := console.export_text())
    assert "retrained 2 settings on 3 new seeds (6 COMPLETE)" in text
    folder.write_record(again.model_copy(update={"state": TrialState.RUNNING, "values": None}))
    status = study_status(folder)
    assert (status.done, status.limit, status.trials) == (6, 6, [])
    assert (status.retrained.states, status.retrained.total) == ({"COMPLETE": 5, "RUNNING": 1}, 6)
    assert [(t.key, t.number) for t in status.retrained.trials] == [(again.key, None)]
    console = Console(width=120, record=True)
    console.print(render_status(status))
    text = console.export_text()
    assert "6/6 trials" in text
    assert "toy: stopped; the same command goes on with it" in text
    assert "retrained 2 settings on 3 new seeds: 5 of 6 (5 COMPLETE, 1 to go on)" in text
    assert any(line.startswith(again.key) for line in text.splitlines())


@pytest.fixture
def owner(toy_study, open_study):
    """An owner of the retraining of two settings on three seeds, after a search of six trials."""

    def make(**changes):
        opened = open_study(toy_study(trials=6, pruner="none", attempts=3, **changes))
        opened.play()
        return again(opened), opened

    def again(opened):
        ledger = TrialLedger(
            opened.folder,
            study_uuid="u",
            provenance=Provenance(seed=0),
            records=opened.folder.read_retrained(),
        )
        memory = TrialMemory(opened.study, lambda values: int(values["rank"]))
        return RetrainingOwner(
            opened.study,
            ConfirmationSpec(top=2, seeds=3),
            search=opened.ledger.records,
            ledger=ledger,
            memory=memory,
            say=said.append,
        )

    said: list[str] = []
    make.again, make.said = again, said
    return make


def finished(start: Start, value: float) -> Finished:
    table = ScoreTable(
        example_ids=(), groups=(), metrics={}, statistics={}, signatures={}, aggregate={"rougeL": value}
    )
    identity = {"key": start.trial.key, "attempt": start.trial.attempt}
    rest = {"predictions": (), "adapter": {}, "resources": Resources()}
    return Finished(**identity, reason="end", best_step=1, scores=table, **rest)


def test_every_setting_gets_its_first_seed_before_any_gets_its_second(owner):
    found, _ = owner()
    asked = [found.ask(new=False).trial.key for _ in range(6)]
    assert [key[-1] for key in asked] == ["1", "1", "2", "2", "3", "3"]
    assert len(set(asked)) == 6 and found.ask(new=True) is None
    assert found.left(new=True) == found.total == 6
    (line,) = owner.said
    assert line.startswith("retraining the settings of trials ") and line.endswith(" on 3 new seeds each")


def test_what_was_interrupted_goes_on_first_with_its_checkpoint(owner):
    found, opened = owner()
    start = found.ask(new=False)
    found.finished(finished(start, 0.5))
    cut = found.ask(new=False)
    (opened.folder.trial(cut.trial.key) / "checkpoint-0002.bin").write_bytes(b"state")
    resumed = owner.again(opened)
    went_on = resumed.ask(new=False)
    assert (went_on.trial.key, went_on.trial.attempt, went_on.checkpoint) == (cut.trial.key, 2, b"state")
    assert went_on.trial.seed == cut.trial.seed
    assert start.trial.key not in {resumed.ask(new=False).trial.key for _ in range(4)}
    assert resumed.ask(new=False) is None
    assert owner.said[-1].endswith("; 1 of 6 are done")


def test_three_that_fail_alike_stop_it_before_all_are_spent(owner):
    found, _ = owner()
    for _ in range(3):
        start = found.ask(new=False)
        event = {"key": start.trial.key, "attempt": start.trial.attempt}
        found.failed(Failed(**event, kind=FailureKind.CRASHED, message="no such library"))
    assert "3 attempts in a row failed alike: no such library" in found.stop_reason
    assert found.ask(new=False) is None and not found.has_work(new=True)


def test_scores_that_are_no_numbers_are_a_divergence(owner):
    found, opened = owner()
    start = found.ask(new=False)
    found.finished(finished(start, float("nan")))
    assert opened.folder.read_record(start.trial.key).state is TrialState.PRUNED


def test_what_lost_two_workers_waits_for_an_empty_one(owner):
    found, _ = owner()
    first = found.ask(new=False).trial.key
    for attempt in (1, 2):
        lost = {"kind": FailureKind.WORKER_LOST, "message": "gone", "neighbours": 3}
        found.failed(Failed(key=first, attempt=attempt, **lost))
        if attempt == 1:
            while found.ask(new=False).trial.key != first:
                pass
    assert found.runs_alone(first)
    assert found.ask(new=False, empty=False) is None
    assert found.ask(new=False, empty=True).trial.key == first


def test_settings_that_fit_no_worker_wait_for_a_larger_one(owner):
    found, opened = owner(space={"rank": [8]})
    found.know(Workforce(ready=[Ready(device="d", compute_dtype="fp64", trial_limit_bytes=4)]))
    assert found.ask(new=False) is None and not found.has_work(new=False)
    assert len(found.stuck()) == 6 and opened.folder.read_retrained() == []


def test_nothing_is_chosen_while_the_search_goes_on(toy_study, open_study):
    opened = open_study(toy_study(trials=3, pruner="none"))
    ledger = TrialLedger(opened.folder, study_uuid="u", provenance=Provenance(seed=0), records=())
    said: list[str] = []
    retraining = RetrainingOwner(
        opened.study,
        ConfirmationSpec(top=2, seeds=1),
        search=opened.ledger.records,
        ledger=ledger,
        say=said.append,
    )
    both = SearchThenRetraining(opened.owner, retraining)
    started = [both.ask(new=True) for _ in range(4)]
    assert [start and start.trial.key for start in started] == ["0000", "0001", "0002", None]
    assert both.left(new=True) == 3 and both.stuck() == [] and not said
    for place, start in enumerate(started[:3]):
        assert both.is_current(start.trial.key, 1)
        both.finished(finished(start, 0.1 * place))
    keys = [both.ask(new=True).trial.key for _ in range(2)]
    assert keys == ["confirm/0002-1", "confirm/0001-1"]
    assert both.best().key == "0002"
