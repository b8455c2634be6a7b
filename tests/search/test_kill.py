"""Kill the driver with SIGKILL repeatedly: no trial is lost, and none runs twice."""

import random
import subprocess
import sys
import time
from pathlib import Path

from loratory.objectives.study_folder import StudyFolder
from loratory.search.optuna_rows import open_rows

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


def _evaluations(folder: StudyFolder) -> int:
    if not (folder.path / "trials").is_dir():
        return 0
    return sum(len(record.measurements) for record in folder.read_records())
