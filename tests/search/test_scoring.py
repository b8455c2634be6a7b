"""The queue of scorings outside trials: their order, each once, whatever is lost in between."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.events import Score, Split
from loratory.objectives.objective import Beginning, Prepared
from loratory.objectives.records import AdapterRecord, Provenance, ScoreRecord, TrialRecord, TrialState
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE, SCORES, StudyFolder
from loratory.reports.ranking import order
from loratory.search import scoring
from loratory.search.manifest import open_manifest
from loratory.search.scoring import ScoringQueue

WHOLE = Prepared(
    has_base=True, has_confirm=True, has_test=True, splits={"select": 30, "confirm": 30, "test": 9}
)
CONFIRM = ["confirm/base", "confirm/0000", "confirm/0001", "confirm/0002", "confirm/0003", "confirm/0004"]


def table(mean: float, split: str, seed: int) -> ScoreTable:
    noise = np.random.default_rng(seed).normal(0, 0.2, 30)
    ids = tuple(f"{split}-{i}" for i in range(30))
    scores = {"rougeL": mean + noise - noise.mean()}
    return ScoreTable(
        example_ids=ids, groups=ids, metrics=scores, statistics={}, signatures={}, aggregate={"rougeL": mean}
    )


def trial(folder: StudyFolder, number: int, mean: float) -> TrialRecord:
    key = f"{number:04d}"
    for name in (ADAPTER_WEIGHTS, ADAPTER_CONFIG):
        write_atomically(folder.adapter(key) / name, f"{name} of {number}".encode())
    write_atomically(folder.trial(key) / SCORES, table(mean, "select", number).to_bytes())
    return TrialRecord(
        study="u",
        key=key,
        number=number,
        state=TrialState.COMPLETE,
        params={},
        values=[mean],
        metrics={"rougeL": mean},
        adapter=AdapterRecord(sha256="a", size_bytes=1, step=1),
        provenance=Provenance(seed=number),
    )


@pytest.fixture
def folder(toy_study, tmp_path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "toy")
    open_manifest(folder, toy_study(), WHOLE, Beginning.now())
    return folder


@pytest.fixture
def records(folder) -> dict[str, TrialRecord]:
    """Six trials that cannot be told apart, the first the best on select."""
    return {f"{n:04d}": trial(folder, n, 0.5 - 0.001 * n) for n in range(6)}


def record(folder: StudyFolder, queue: ScoringQueue, score: Score, mean: float = 0.4) -> None:
    """What the driver does when a scoring is done."""
    write_atomically(folder.score(score.key) / SCORES, table(mean, score.split, len(score.key)).to_bytes())
    trial = queue.trial_of(score.key)
    fields = {"study": "u", "key": score.key, "split": score.split, "trial": trial, "metrics": {}}
    folder.write_score(ScoreRecord(**fields, provenance=Provenance(seed=0)))
    queue.done(score.key)


def handed_out(queue: ScoringQueue, records: Mapping[str, TrialRecord]) -> list[Score]:
    """All that idle workers can be given at once."""
    found = []
    while (score := queue.closing(records)) is not None:
        found.append(score)
    return found


def all_keys(folder, queue, records, means: Mapping[str, float] = {}) -> Iterable[str]:
    while scores := handed_out(queue, records):
        for score in scores:
            yield score.key
            record(folder, queue, score, means.get(score.key, 0.4))


def test_the_base_is_scored_once_and_by_one_worker(folder):
    queue = ScoringQueue(folder, WHOLE)
    score = queue.opening()
    assert score is not None and (score.key, score.split, score.adapter) == (BASE, Split.SELECT, None)
    assert queue.opening() is None and queue.pending({})
    queue.give_back(BASE)
    again = queue.opening()
    assert again == score
    record(folder, queue, score)
    assert queue.opening() is None and not queue.pending({})
    assert ScoringQueue(folder, WHOLE).opening() is None


def test_the_winner_on_test_waits_until_confirm_is_scored(folder, records):
    queue = ScoringQueue(folder, replace(WHOLE, has_base=False))
    first = handed_out(queue, records)
    assert [score.key for score in first] == [*CONFIRM, "test/base"]
    assert [score.split for score in first] == [Split.CONFIRM] * 6 + [Split.TEST]
    assert first[0].adapter is None
    assert first[3].adapter == {
        ADAPTER_WEIGHTS: f"{ADAPTER_WEIGHTS} of 2".encode(),
        ADAPTER_CONFIG: f"{ADAPTER_CONFIG} of 2".encode(),
    }
    assert [queue.trial_of(score.key) for score in first[:3]] == [None, "0000", "0001"]
    for score in first[:6]:
        assert queue.closing(records) is None and queue.pending(records)
        record(folder, queue, score, 0.9 if score.key == "confirm/0003" else 0.4)
    (winner,) = handed_out(queue, records)
    record(folder, queue, first[6])
    assert (winner.key, winner.split, queue.trial_of(winner.key)) == ("test/winner", Split.TEST, "0003")
    record(folder, queue, winner)
    assert not queue.pending(records) and handed_out(queue, records) == []


@pytest.mark.parametrize("survive", [0, 1, 4, 6, 7, 8])
def test_after_a_kill_only_what_has_no_record_is_scored(folder, records, survive):
    first = ScoringQueue(folder, WHOLE)
    record(folder, first, Score(key=BASE, split=Split.SELECT))
    keys = all_keys(folder, first, records, {"confirm/0002": 0.8})
    before = [key for _, key in zip(range(survive), keys, strict=False)]
    if before:
        before.pop()  # the generator stands before the record of the last key
    second = ScoringQueue(folder, WHOLE)
    after = list(all_keys(folder, second, records, {"confirm/0002": 0.8}))
    assert sorted([*before, *after]) == sorted([*CONFIRM, "test/base", "test/winner"])
    assert not second.pending(records)


def test_a_scoring_whose_worker_is_lost_is_handed_out_again(folder, records):
    queue = ScoringQueue(folder, WHOLE)
    first = handed_out(queue, records)
    queue.give_back("confirm/0001")
    assert [score.key for score in handed_out(queue, records)] == ["confirm/0001"]
    assert len(first) == 7


def test_of_more_trials_later_only_the_new_candidates_are_scored_and_a_new_winner_on_test(folder, records):
    queue = ScoringQueue(folder, WHOLE)
    list(all_keys(folder, queue, records))
    records["0006"] = trial(folder, 6, 0.51)
    means = {"confirm/0006": 0.2, "confirm/0007": 0.8}
    assert list(all_keys(folder, ScoringQueue(folder, WHOLE), records, means)) == ["confirm/0006"]
    records["0007"] = trial(folder, 7, 0.52)
    assert list(all_keys(folder, queue, records, means)) == ["confirm/0007", "test/0007"]
    assert [look.trial for look in folder.read_looks()] == ["0000", "0007"]
    assert list(all_keys(folder, ScoringQueue(folder, WHOLE), records, means)) == []


def test_a_winner_that_was_scored_on_test_before_is_not_scored_again(folder, records):
    first, second = ({"0000": records["0000"], name: records[name]} for name in ("0001", "0002"))
    list(all_keys(folder, ScoringQueue(folder, WHOLE), first, {"confirm/0000": 0.9}))
    assert list(all_keys(folder, ScoringQueue(folder, WHOLE), second, {"confirm/0002": 0.95})) == [
        "confirm/0002",
        "test/0002",
    ]
    assert list(all_keys(folder, ScoringQueue(folder, WHOLE), first)) == []


def test_a_lost_second_look_is_handed_out_again(folder, records):
    queue = ScoringQueue(folder, replace(WHOLE, has_confirm=False))
    list(all_keys(folder, queue, records))
    records["0006"] = trial(folder, 6, 0.6)
    (look,) = handed_out(queue, records)
    assert (look.key, queue.trial_of(look.key)) == ("test/0006", "0006") and queue.pending(records)
    queue.give_back(look.key)
    assert handed_out(queue, records) == [look]


def test_a_training_anew_that_wins_later_is_a_second_look(folder, records):
    queue = ScoringQueue(folder, replace(WHOLE, has_confirm=False))
    list(all_keys(folder, queue, records))
    again = trial(folder, 0, 0.7).model_copy(update={"key": "confirm/0000-1", "number": None})
    for name in (ADAPTER_WEIGHTS, ADAPTER_CONFIG):
        write_atomically(folder.adapter(again.key) / name, b"again")
    assert list(all_keys(folder, queue, {**records, again.key: again})) == ["test/0000-1"]
    assert [look.shown for look in folder.read_looks()] == ["0000", "confirm/0000-1"]


@pytest.mark.parametrize("has_test", [True, False])
def test_without_confirm_the_best_on_select_is_scored_on_test(folder, records, has_test):
    queue = ScoringQueue(folder, replace(WHOLE, has_confirm=False, has_test=has_test))
    record(folder, queue, Score(key=BASE, split=Split.SELECT))
    assert queue.pending(records) is has_test
    scores = handed_out(queue, records)
    assert [score.key for score in scores] == ["test/base", "test/winner"][: 2 * has_test]
    assert [queue.trial_of(score.key) for score in scores] == [None, "0000"][: 2 * has_test]


def test_without_an_adapter_nothing_is_scored_at_the_end(folder, records):
    queue = ScoringQueue(folder, WHOLE)
    bare = {key: r.model_copy(update={"adapter": None}) for key, r in records.items()}
    assert handed_out(queue, bare) == [] and handed_out(queue, {}) == []


def test_trials_are_ranked_again_only_where_more_are_finished(folder, records, monkeypatch):
    ranked = []

    def counted(found, direction):
        ranked.append(len(found))
        return order(found, direction)

    monkeypatch.setattr(scoring, "order", counted)
    queue, fewer = ScoringQueue(folder, WHOLE), dict(list(records.items())[:5])
    assert record_base(folder, queue) and ranked == []
    for _ in range(3):
        assert queue.pending(fewer)
    assert ranked == [5]
    assert queue.pending(records) and ranked == [5, 6]


def record_base(folder: StudyFolder, queue: ScoringQueue) -> Score:
    score = queue.opening()
    record(folder, queue, score)
    return score
