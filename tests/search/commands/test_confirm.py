"""`loratory confirm`: what it prints, and the one line where it cannot begin."""

import json
import tarfile
from pathlib import Path

import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.search import run_study
from loratory.search.lock import driver_lock
from loratory.search.main import main
from loratory.spaces.loading import load_study

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path) -> StudyFolder:
    return StudyFolder(tmp_path / "toy")


@pytest.fixture
def call(monkeypatch, capsys, folder):
    """Call the command; return exit status, output and errors."""

    def run(*options: str, path: Path | None = None) -> tuple[int, str, str]:
        argv = ["loratory", "confirm", str(path or folder.path), "--local", *options]
        monkeypatch.setattr("sys.argv", argv)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def test_it_trains_what_it_is_asked_for_and_says_when_nothing_is_left(call, toy_study, folder, tmp_path):
    run_study(toy_study(trials=4, pruner="none"), runs=tmp_path, local=True)
    status, said, _ = call("--top", "2", "--seeds", "3")
    assert status == 0
    assert "retraining the settings of trials " in said and " on 3 new seeds each" in said
    assert "Retrained 2 settings on 3 new seeds" in said
    assert "One run each ranks files, not settings." in said
    assert len(folder.read_retrained()) == 6
    status, said, _ = call()
    assert status == 0 and len(folder.read_retrained()) == 6
    assert "nothing to train: 2 settings have their 3 new seeds" in said
    assert "retraining the settings" not in said


def test_trainings_without_a_score_end_with_status_1_and_say_why(call, toy_study, folder, tmp_path):
    run_study(toy_study(trials=2, pruner="none"), runs=tmp_path, local=True)
    manifest = json.loads(folder.manifest.read_text())
    manifest["spec"]["toy"]["faults"] = {"crash": 1.0}
    manifest["spec"]["attempts"] = 1
    folder.manifest.write_text(json.dumps(manifest))
    for _ in range(2):  # and once more where nothing is left to do
        status, _, said = call("--top", "1", "--seeds", "2")
        assert status == 1
        assert f"{folder.path}: no training on a new seed was scored: 2 FAIL, the last by: " in said
        assert said.count("\n") == 1
    assert [record.state for record in folder.read_retrained()] == ["FAIL"] * 2


def test_fewer_trials_with_a_score_than_asked_for_is_a_note(call, toy_study, folder, tmp_path):
    run_study(toy_study(trials=2, pruner="none"), runs=tmp_path, local=True)
    status, said, _ = call("--seeds", "1")
    assert status == 0
    assert "note: confirmation.top is 3, trials with a score are 2" in said
    assert len(folder.read_retrained()) == 2


def test_an_unfinished_search_is_one_line(call, toy_study, open_study, tmp_path):
    opened = open_study(toy_study(trials=4, pruner="none"))
    opened.play(steps=6)
    status, _, error = call(path=opened.folder.path)
    assert status == 2
    assert error.count("\n") == 1
    assert "the search must be over before its settings are trained again, 1 of 4 trials are" in error
    assert opened.folder.read_manifest().spec.confirmation is None, "nothing was begun"


def test_a_search_without_a_score_is_one_line(call, toy_study, tmp_path):
    study = toy_study(trials=2, attempts=1, toy={"faults": {"crash": 1.0}})
    run_study(study, runs=tmp_path, local=True)
    status, _, error = call()
    assert (status, error.count("\n")) == (2, 1)
    assert error.strip().endswith("a trial must have a score to be trained again, none has")


def test_a_study_that_another_driver_runs_is_one_line(call, toy_study, folder, tmp_path):
    run_study(toy_study(trials=2, pruner="none"), runs=tmp_path, local=True)
    with driver_lock(folder.path):
        status, _, error = call()
    assert (status, error.count("\n")) == (2, 1)
    assert "must have one driver at a time, process " in error
    assert folder.read_retrained() == []


def test_a_folder_without_a_study_is_one_line_and_stays_as_it_was(call, tmp_path):
    status, _, error = call(path=tmp_path / "none")
    assert (status, error.count("\n")) == (2, 1)
    assert "must be a study folder, has no study.json" in error
    assert not (tmp_path / "none").exists()


def test_numbers_out_of_range_are_one_line(call, toy_study, tmp_path):
    run_study(toy_study(trials=1, pruner="none"), runs=tmp_path, local=True)
    status, _, error = call("--top", "0", "--seeds", "101")
    assert status == 2
    assert error == "confirm: top must be >= 1, got 0; seeds must be <= 100, got 101\n"


def test_a_study_of_version_1_is_trained_again_with_its_own_schedule(call, tmp_path):
    with tarfile.open(ROOT / "tests" / "version_1" / "toy-unfinished.tar.gz") as file:
        file.extractall(tmp_path, filter="data")
    (tmp_path / "toy-unfinished").rename(tmp_path / "toy-v1")
    old = StudyFolder(tmp_path / "toy-v1")
    first = old.manifest.read_bytes()
    status, _, error = call(path=old.path)
    assert (status, error.count("\n")) == (2, 1) and "34 of 60 trials are" in error
    overrides = ["name=toy-v1", "trials=60"]
    run_study(load_study(ROOT / "examples" / "toy.yaml", overrides), runs=tmp_path, local=True)
    records = {record.key: record for record in old.read_records()}
    status, _, _ = call("--top", "2", "--seeds", "2", path=old.path)
    assert status == 0
    assert {record.schedule for record in old.read_retrained()} == {"cosine_nonzero_start"}
    assert {record.key: record for record in old.read_records()} == records
    assert old.first_manifest.read_bytes() == first and old.read_manifest().began_with == 1
