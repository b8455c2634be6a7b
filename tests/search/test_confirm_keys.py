"""A trial of another key than the search's lies beside its trials, and is none of them."""

from loratory.objectives.records import Provenance, TrialRecord, TrialState
from loratory.reports.comparison import compare
from loratory.search.status import study_status


def test_ranking_status_and_reconciliation_do_not_see_a_trial_of_another_key(toy_study, open_study):
    study = toy_study(trials=4, pruner="none")
    opened = open_study(study)
    opened.play()
    before = study_status(opened.folder), compare(opened.folder)
    best = TrialRecord(
        study="u",
        key="confirm/0001-2",
        number=None,
        params={},
        state=TrialState.COMPLETE,
        values=[0.99],
        provenance=Provenance(seed=1),
    )
    opened.folder.write_record(best)
    opened.folder.write_record(best.model_copy(update={"key": "confirm/0001-3", "state": TrialState.RUNNING}))
    after = study_status(opened.folder), compare(opened.folder)
    assert all(view.retrained for view in after), "it stands apart"
    of_all = dict.fromkeys(
        ("choice", "findings", "verdict", "samples", "ranking", "ranks_by_metric", "pareto_fronts", "publish")
    )
    ranked = [[(trial.key, trial.value) for trial in view.ranking] for view in (before[1], after[1])]
    assert ranked[0] == ranked[1]
    assert after[0].model_copy(update={"retrained": None}) == before[0]
    assert after[1].model_copy(update={"retrained": None, **of_all}) == before[1].model_copy(update=of_all)
    again = open_study(study)
    assert (again.resumed.finished, again.resumed.unfinished) == (4, 0)
    assert "confirm/0001-2" not in again.owner.records
    assert again.owner.best() == opened.owner.best()


def test_a_paused_trial_is_unfinished_everywhere_and_goes_on(toy_study, open_study):
    study = toy_study(trials=2, pruner="none")
    opened = open_study(study)
    opened.play(steps=2)
    (record,) = opened.folder.read_records()
    opened.folder.write_record(record.model_copy(update={"state": TrialState.PAUSED}))
    assert compare(opened.folder).provisional
    assert compare(opened.folder).unranked[0].reason == "paused"
    status = study_status(opened.folder)
    assert (status.done, [trial.number for trial in status.trials]) == (0, [0])
    again = open_study(study)
    assert again.resumed.unfinished == 1
    again.play()
    records = again.folder.read_records()
    assert [record.state for record in records] == [TrialState.COMPLETE] * 2
    assert [(a.attempt, a.end) for a in records[0].attempts] == [(1, "interrupted"), (2, "finished")]
