"""Kill the driver with SIGKILL repeatedly: no trial is lost, and none runs twice; retraining alike."""

import random
import subprocess
import sys
import time
from pathlib import Path

from loratory.objectives.study_folder import StudyFolder
from loratory.search import run_study
from loratory.search.optuna_rows import open_rows
from loratory.spaces.loading import load_study

TRIALS, KILLS = 24, 8
TOY = Path(__file__).parents[2] / "examples" / "toy.yaml"
COMMAND = [
    *(sys.executable, "-m", "loratory.search.main", "run", str(TOY), "--local"),
    *(
        "--set",
        f"trials={TRIALS}",
        "--set",
        "toy.seconds_per_evaluation=0.05",
        "--set",
        "toy.evaluations_per_checkpoint=2",
        "--set",
        "packing.slots=3",
        "--set",
        "toy.faults.flaky=0.2",
    ),
]


def test_a_study_survives_eight_kills_with_no_trial_lost_or_counted_twice(tmp_path, assert_agreement):
    chance = random.Random(7)
    folder = StudyFolder(tmp_path / "runs" / "toy")
    killed_at_work = 0
    for _ in range(KILLS):
        before = _evaluations(folder)
        driver = subprocess.Popen(COMMAND, cwd=tmp_path, stdout=subprocess.DEVNULL)
        # Wait for work, so that each kill strikes a study that goes on, then for a moment nobody chose.
        while driver.poll() is None and _evaluations(folder) <= before:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.3))
        killed_at_work += driver.poll() is None
        driver.kill()
        driver.wait()
    assert killed_at_work >= KILLS // 2
    done = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    records = folder.read_records()
    assert sum(record.state != "INFEASIBLE" for record in records) == TRIALS
    assert all(record.state.finished for record in records)
    assert any(record.attempt > 1 + len(record.failures) for record in records), (
        "no trial was cut off by a kill"
    )
    assert_agreement(open_rows(folder, folder.read_manifest()), folder)


def test_retraining_survives_kills_and_trains_nothing_twice_that_was_finished(tmp_path):
    faults = [f"toy.faults.{name}=0" for name in ("flaky", "oom", "diverge", "crash")]
    keys = [
        *faults,
        "trials=6",
        "pruner=none",
        "toy.seconds_per_evaluation=0.05",
        "toy.evaluations_per_checkpoint=2",
    ]
    run_study(load_study(TOY, [*keys, "packing.slots=3"]), runs=tmp_path / "runs", local=True)
    folder = StudyFolder(tmp_path / "runs" / "toy")
    confirm = [*COMMAND[:3], "confirm", "runs/toy", "--local", "--top", "3", "--seeds", "4"]
    finished: dict[str, bytes] = {}
    killed_at_work, attempts = 0, {}
    for _ in range(2):
        before = _evaluations(folder)
        driver = subprocess.Popen(confirm, cwd=tmp_path, stdout=subprocess.DEVNULL)
        while driver.poll() is None and _evaluations(folder) <= before + 7:
            time.sleep(0.02)
        killed_at_work += driver.poll() is None
        driver.kill()
        driver.wait()
        assert {key: _files(folder, key) for key in finished} == finished, "what has its end is left alone"
        records = folder.read_retrained()
        finished = {r.key: _files(folder, r.key) for r in records if r.state.finished}
        attempts |= {r.key: r.attempt for r in records if r.state.finished}
    assert killed_at_work and len(finished) < 12
    done = subprocess.run(confirm, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    records = {record.key: record for record in folder.read_retrained()}
    assert len(records) == 12
    assert all(record.state == "COMPLETE" for record in records.values())
    assert {key: _files(folder, key) for key in finished} == finished
    assert all(records[key].attempt == attempt for key, attempt in attempts.items())
    resumed = [record for record in records.values() if record.attempts[0].end == "interrupted"]
    # With a checkpoint at every second evaluation a kill costs at most what was done since the last.
    assert resumed and any(record.attempts[0].evaluations >= 2 for record in resumed)
    for record in records.values():
        assert [m.step for m in record.measurements] == list(range(1, len(record.measurements) + 1))


def _files(folder: StudyFolder, key: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.trial(key).rglob("*") if path.is_file()}


def _evaluations(folder: StudyFolder) -> int:
    if not (folder.path / "trials").is_dir():
        return 0
    return sum(len(record.measurements) for record in (*folder.read_records(), *folder.read_retrained()))
