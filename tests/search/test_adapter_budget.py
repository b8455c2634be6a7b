"""The worst adapters are deleted first, never one of the best five, and everything says so in words."""

import dataclasses

import pytest

from loratory.objectives.events import Finished, Reported, Started
from loratory.objectives.records import Provenance, TrialState
from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from loratory.objectives.toy import ToyObjective
from loratory.reports.comparison import compare
from loratory.reports.publishing import stage
from loratory.reports.ranking import order
from loratory.search.adapter_budget import AdapterBudget
from loratory.search.ledger import TrialLedger
from loratory.search.retraining import RetrainingOwner
from loratory.spaces import InputError
from loratory.spaces.confirmation import ConfirmationSpec
from loratory.spaces.metric_names import Direction

WEIGHTS = 2**16
GIB = 2**30


class WithAdapters(ToyObjective):
    """The toy, with files of adapters."""

    def _finished(self, slot, reason: str) -> Finished:
        files = {ADAPTER_WEIGHTS: b"w" * WEIGHTS, ADAPTER_CONFIG: b"{}"}
        return dataclasses.replace(super()._finished(slot, reason), adapter=files)


@pytest.fixture
def finished(toy_study, open_study):
    """A study of eight trials, whose budget has room for so many adapters."""

    def play(adapters: float, trials: int = 8):
        study = toy_study(
            trials=trials,
            pruner="none",
            sampler="random",
            evaluation={"evaluations": 1},
            resources={"disk_gib": adapters * WEIGHTS / GIB},
        )
        opened = open_study(study)
        opened.play(WithAdapters(study))
        return opened, AdapterBudget(study, opened.folder, opened.ledger)

    return play


def test_the_worst_go_first_and_scores_records_and_ranks_stay(finished):
    opened, budget = finished(6.5)
    before = order(opened.folder.read_records(), Direction.MAXIMIZE)
    lines = budget.enforce()
    after = order(opened.folder.read_records(), Direction.MAXIMIZE)
    assert [record.key for record in after] == [record.key for record in before]
    gone = [record for record in after if record.adapter.removed]
    assert gone == after[6:]
    assert lines[0] == (
        f"trial {gone[1].shown}: adapter of 64 KiB deleted: adapters and checkpoints exceeded "
        f"resources.disk_gib ({6.5 * WEIGHTS / GIB:g}), it was rank 8 of 8"
    )
    for record in after:
        folder = opened.folder.trial(record.key)
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert set(record.files) <= names >= {"record.json", "scores.npz", "predictions.jsonl", "curve.jsonl"}
        assert opened.folder.adapter(record.key).exists() == (record not in gone)
    assert budget.enforce() == []


def test_the_best_five_are_kept_whatever_they_take(finished):
    opened, budget = finished(2.5)
    lines = budget.enforce()
    assert len(lines) == 4 and lines[-1].startswith(
        "note: checkpoints and the adapters of the best 5 trials take 320 KiB, more than resources.disk_gib"
    )
    kept = [
        record.adapter.removed is None for record in order(opened.folder.read_records(), Direction.MAXIMIZE)
    ]
    assert kept == [True] * 5 + [False] * 3
    assert budget.enforce() == [], "it is said once"


def test_checkpoints_of_running_trials_count(finished):
    opened, budget = finished(8.5)
    assert budget.enforce() == []
    start = opened.owner.ask(new=True)
    assert start is None
    path = opened.folder.checkpoint("0000", 1)
    path.write_bytes(b"c" * WEIGHTS)
    opened.ledger.records["0000"] = opened.ledger.records["0000"].model_copy(
        update={"state": TrialState.RUNNING}
    )
    assert budget.enforce() == []  # one adapter less is ranked, one checkpoint more is there
    path.write_bytes(b"c" * 3 * WEIGHTS)
    assert len(budget.enforce()) == 2


def test_a_crash_between_record_and_deletion_is_made_good_on_the_next_start(finished, monkeypatch):
    opened, budget = finished(7.5)
    monkeypatch.setattr("loratory.search.ledger.shutil.rmtree", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        budget.enforce()
    monkeypatch.undo()
    worst = order(opened.folder.read_records(), Direction.MAXIMIZE)[-1]
    assert worst.adapter.removed and opened.folder.adapter(worst.key).exists()
    AdapterBudget(opened.study, opened.folder, opened.ledger)
    assert not opened.folder.adapter(worst.key).exists()


def test_report_and_publish_say_why_an_adapter_is_gone(finished):
    opened, budget = finished(7.5)
    budget.enforce()
    worst = compare(opened.folder).ranking[-1]
    assert worst.adapter is None and worst.adapter_sha256
    words = "adapters and checkpoints exceeded resources.disk_gib"
    assert words in worst.adapter_removed and f"adapter deleted: {words}" in worst.reason
    with pytest.raises(InputError, match=f"that of trial {worst.number} was deleted: {words}"):
        stage(opened.folder, trial=worst.number, repo_id="me/it")


def test_what_was_trained_again_has_a_budget_of_the_same_and_its_own_best_five(finished):
    opened, _ = finished(11.5)
    ledger = TrialLedger(opened.folder, study_uuid="u", provenance=Provenance(seed=0), records=())
    again = RetrainingOwner(
        opened.study, ConfirmationSpec(top=1, seeds=8), search=opened.ledger.records, ledger=ledger
    )
    objective = WithAdapters(opened.study)
    while (start := again.ask(new=False)) is not None:
        for event in objective.advance([start]):
            if isinstance(event, Started | Reported | Finished):
                getattr(again, type(event).__name__.lower())(event)
    budget = AdapterBudget(opened.study, opened.folder, opened.ledger, ledger)
    lines = budget.enforce()
    assert len(lines) == 5, "16 adapters, room for 11"
    retrained = order(opened.folder.read_retrained(), Direction.MAXIMIZE)
    search = order(opened.folder.read_records(), Direction.MAXIMIZE)
    for ranked in (retrained, search):
        assert not any(record.adapter.removed for record in ranked[:5])
    assert search[-1].adapter.removed, "the settings that were trained again are the best ones"
    gone = [record for record in retrained if record.adapter.removed]
    assert gone == retrained[-len(gone) :] and gone
    assert gone[-1].adapter.removed.endswith("it was rank 8 of 8 retrained")
    assert not opened.folder.adapter(gone[0].key).exists()


def test_without_a_limit_nothing_is_deleted(toy_study, open_study):
    study = toy_study(trials=7, pruner="none", sampler="random", evaluation={"evaluations": 1})
    opened = open_study(study)
    opened.play(WithAdapters(study))
    assert AdapterBudget(study, opened.folder, opened.ledger).enforce() == []


def test_checkpoints_of_ended_trials_are_gone(finished):
    opened, _ = finished(8.5, trials=2)
    assert list(opened.folder.path.glob("trials/*/checkpoint-*")) == []
