"""A part of eval that no trial sees: five trials are scored on it, and it has a say in what is published."""

import json
import shutil
from pathlib import Path

import pytest

from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import (
    CONFIRM_BASE,
    TEST_BASE,
    TEST_WINNER,
    StudyFolder,
    confirm_key,
    later_look_key,
)
from loratory.objectives.versions import seal
from loratory.reports.comparison import compare
from loratory.reports.comparison_rows import comparison_rows
from loratory.reports.publishing import stage
from loratory.search import StudyResult, confirm_study, run_study
from loratory.search.executors.local import LocalExecutor
from loratory.spaces import StudySpec

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SCORINGS = [CONFIRM_BASE, *(confirm_key(f"{n:04d}") for n in range(5)), TEST_BASE, TEST_WINNER]


def _rows(start: int, count: int) -> str:
    rows = [
        {"prompt": f"def {LETTERS[n % 26]}_{n}(x): return x + {n}", "completion": f"Add {n} to x."}
        for n in range(start, start + count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def _study(folder: Path, **changes: object) -> StudySpec:
    for name, start, count in (("train", 0, 24), ("eval", 100, 32), ("test", 200, 8)):
        (folder / f"{name}.jsonl").write_text(_rows(start, count))
    fields = {
        "name": "confirmed",
        "metric": "chrf",
        "trials": 5,
        "space": {"rank": {"type": "int", "low": 4, "high": 8}},
        "training": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3},
        "model": {"base": "builtin:quickstart"},
        "data": {name: str(folder / f"{name}.jsonl") for name in ("train", "eval", "test")},
        "evaluation": {"evaluations": 1, "dev_examples": 8, "select_examples": 12, "max_new_tokens": 6},
        "sampler": "random",
        "pruner": "none",
        "packing": {"slots": 5},
        "tracking": {"wandb": {"mode": "off"}},
    }
    return StudySpec.model_validate(fields | changes)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("study")
    return run_study(_study(folder), runs=folder / "runs", local=True)


def _table(folder: Path) -> ScoreTable:
    return ScoreTable.from_bytes((folder / "scores.npz").read_bytes())


def _contents(folder: StudyFolder) -> dict[str, bytes]:
    paths = [
        p
        for p in folder.path.glob("**/*.json*")
        if "report" not in p.parts and p.name not in ("clock.json", "work_times.jsonl")
    ]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in paths}


def test_five_trials_and_the_base_are_scored_on_confirm_alone(result: StudyResult) -> None:
    folder = result.folder
    assert folder.read_manifest().splits == {"train": 24, "dev": 8, "select": 12, "confirm": 12, "test": 8}
    select = set(_table(folder.trial("0000")).example_ids)
    for key in SCORINGS[:6]:
        record, table = folder.read_score(key), _table(folder.score(key))
        assert record is not None and record.split == "confirm"
        assert record.trial == (None if key == CONFIRM_BASE else key.removeprefix("confirm/"))
        if key != CONFIRM_BASE:
            assert folder.read_record(key.removeprefix("confirm/")).confirm_metrics == record.metrics
        assert len(table.example_ids) == 12 and not select & set(table.example_ids)
        assert (folder.score(key) / "predictions.jsonl").is_file()


def test_the_pooled_mean_chooses_and_test_is_scored_once_for_it(result: StudyResult) -> None:
    choice, winner = compare(result.folder).choice, result.folder.read_score(TEST_WINNER)
    assert choice is not None and winner is not None and result.best is not None
    assert sorted(choice.candidates) == [f"{n:04d}" for n in range(5)]
    assert choice.pooled[choice.key] == max(choice.pooled.values()) and choice.examples == 24
    assert choice.key == winner.trial == result.best.key
    assert result.adapter == result.folder.adapter(choice.key)


def test_running_it_again_computes_nothing(result: StudyResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise AssertionError("no worker is needed")

    before = _contents(result.folder)
    monkeypatch.setattr(LocalExecutor, "start", start)
    again = run_study(result.folder.read_manifest().spec, runs=result.folder.path.parent, local=True)
    assert _contents(result.folder) == before
    assert again.best == result.best and not again.interrupted


def test_what_a_kill_between_the_scorings_left_undone_is_done_and_nothing_else(result, tmp_path) -> None:
    folder = StudyFolder(shutil.copytree(result.folder.path, tmp_path / "confirmed"))
    before = _contents(folder)
    lost = [*SCORINGS[3:6], TEST_WINNER]
    for key in lost:
        shutil.rmtree(folder.score(key))
    # A kill may also come between the files of a scoring and its record.
    torn = folder.score(SCORINGS[2]) / "record.json"
    torn.unlink()
    again = run_study(folder.read_manifest().spec, runs=tmp_path, local=True)
    after = _contents(folder)
    made = {f"{key}/record.json" for key in [*lost, SCORINGS[2]]}
    assert after.keys() == before.keys()
    assert {name for name in before if after[name] != before[name]} == made
    assert again.best is not None and result.best is not None and again.best.key == result.best.key
    for key in lost:
        assert _table(folder.score(key)).aggregate == _table(result.folder.score(key)).aggregate


def test_a_winner_that_changed_after_test_was_scored_is_scored_there_too_and_marked(result, tmp_path) -> None:
    folder = StudyFolder(shutil.copytree(result.folder.path, tmp_path / "confirmed"))
    assert result.best is not None and result.comparison is not None
    assert "Test was looked at" not in " ".join(result.comparison.verdict)
    first = next(record for record in folder.read_records() if record.key != result.best.key)
    scored = folder.read_score(TEST_WINNER)
    assert scored is not None
    folder.write_score(scored.model_copy(update={"trial": first.key, "number": first.number}))
    again = run_study(folder.read_manifest().spec, runs=tmp_path, local=True)
    assert [look.trial for look in folder.read_looks()] == [first.key, result.best.key]
    later = folder.score(later_look_key(result.best.key))
    assert _table(later).aggregate == _table(folder.score(TEST_WINNER)).aggregate, "the same adapter"
    mark = f"Test was looked at twice: first for trial {first.number}."
    assert again.comparison is not None and mark in again.comparison.verdict
    assert mark in folder.report_markdown.read_text() and mark in folder.report_html.read_text()
    card = stage(folder, trial=None, repo_id="me/again", base_id="me/base").path / "README.md"
    assert mark in card.read_text() and "scored once" not in card.read_text()


def test_trainings_anew_are_scored_on_confirm_and_keep_it_as_trials_do(result, tmp_path) -> None:
    folder = StudyFolder(shutil.copytree(result.folder.path, tmp_path / "confirmed"))
    again = confirm_study(folder, top=1, seeds=3, local=True)
    assert again.comparison is not None and again.comparison.choice is not None and again.best is not None
    anew = [key for key in again.comparison.choice.candidates if key.startswith("confirm/")]
    assert anew, "one of them is among the best five"
    for key in anew:
        record = folder.read_score(confirm_key(key))
        assert record is not None and folder.read_record(key).confirm_metrics == record.metrics
    assert folder.read_looks()[-1].trial == again.best.key
    named = [row.model for row in comparison_rows(again.comparison) if row.split == "confirm"]
    assert named == ["untuned base", f"trial {again.best.shown}"], "of the candidates the published one alone"
    # `run` searches on, and knows the trainings anew that `confirm` made.
    later = run_study(
        folder.read_manifest().spec.model_copy(update={"confirmation": None}), runs=tmp_path, local=True
    )
    assert later.comparison is not None and later.comparison.choice == again.comparison.choice
    assert later.best is not None and later.best.key == again.best.key


def test_a_study_that_began_before_there_was_confirm_goes_on_without_it(tmp_path: Path) -> None:
    study = _study(tmp_path, name="earlier", trials=1)
    none = study.evaluation.model_copy(update={"confirm_examples": 0})
    first = run_study(study.model_copy(update={"evaluation": none}), runs=tmp_path / "runs", local=True)
    fields = json.loads(first.folder.manifest.read_bytes())
    assert "confirm" not in json.loads(first.folder.examples.read_text())["splits"]
    del fields["spec"]["evaluation"]["confirm_examples"], fields["splits"]["confirm"], fields["checksum"]
    first.folder.manifest.write_bytes(seal(fields))
    examples = first.folder.examples.read_bytes()
    again = run_study(study.model_copy(update={"trials": 2}), runs=tmp_path / "runs", local=True)
    manifest = again.folder.read_manifest()
    assert (manifest.hashes, manifest.spec.evaluation.confirm_examples) == (fields["hashes"], 0)
    assert again.folder.examples.read_bytes() == examples
    assert len(again.folder.read_records()) == 2 and not (again.folder.path / "confirm").exists()
    assert again.comparison is not None and again.comparison.choice is not None
    assert again.comparison.choice.why == "this study has no eval.confirm"
