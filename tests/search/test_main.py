"""The command line: exit status, and messages of one line without a traceback."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loratory.objectives.study_folder import StudyFolder

EXAMPLES = Path(__file__).parents[2] / "examples"
TOY = EXAMPLES / "toy.yaml"


def loratory(*arguments: object, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=timeout)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "loratory.search.main", *map(str, arguments)]


def test_a_study_runs_resumes_reports_and_tells_its_status(tmp_path):
    done = loratory("run", TOY, "--local", "--set", "trials=6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "report: runs/toy/report/report.html" in done.stdout
    status = json.loads(loratory("status", "runs/toy", "--json", cwd=tmp_path).stdout)
    assert (status["done"], status["limit"], status["running"]) == (6, 6, False)
    more = loratory("run", TOY, "--local", "--set", "trials=8", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    counted = [r for r in StudyFolder(tmp_path / "runs/toy").read_records() if r.state != "INFEASIBLE"]
    assert len(counted) == 8
    report = loratory("report", "runs/toy", "--json", cwd=tmp_path)
    assert report.returncode == 0
    assert json.loads(report.stdout)
    assert "done" in loratory("status", "runs/toy", cwd=tmp_path).stdout


def test_a_space_that_fits_no_worker_is_a_line_with_exit_status_2(tmp_path):
    memory = ("--set", "toy.memory.bytes_per_rank=1073741824", "--set", "toy.memory.limit_bytes=1048576")
    done = loratory("run", TOY, "--local", *memory, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "GiB of device memory and a worker has 1 MiB for one; search smaller ranks" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "missing.yaml"], "missing.yaml: no such study file"),
        (["run", TOY, "--set", "metric=blue"], "did you mean bleu"),
        (["run", TOY, "--set", "space.rank=[0]"], "space.rank"),
        (["run", TOY, "--set", "spce.rank=[1]"], "spce"),
        (["run", TOY, "--set", "resources.cpus_per_worker=999"], "must fit a node"),
        (["run", TOY, "--set", "resources.workers=99"], "resources.workers must be at most"),
        (["run", TOY, "--address", "127.0.0.1:1"], "must be a running Ray cluster"),
        (["run", TOY, "--set", "storage=postgresql://nobody@127.0.0.1:1/x"], "storage: must be the URL of"),
        (["status", "nowhere"], "nowhere: must be a study folder"),
        (["report", "nowhere"], "nowhere: must be a study folder"),
        (["publish", "nowhere", "--repo", "me/x"], "nowhere: must be a study folder"),
        (["run", TOY, "--runs", "/proc/runs"], "must be a folder that can be written to"),
        (["run"], "Missing argument"),
        (["fly"], "No such command"),
    ],
)
def test_bad_input_is_a_line_and_exit_status_2(arguments, words, tmp_path):
    started = time.monotonic()
    done = loratory(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1 or "Usage" in done.stderr
    assert time.monotonic() - started < 60


def test_bad_input_leaves_no_study_folder_behind(tmp_path):
    (tmp_path / "study.yaml").write_text(
        "name: s\nspace: {rank: [4]}\nmodel: {base: builtin:quickstart}\ndata: {train: none.jsonl}\n"
    )
    done = loratory("run", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "runs" / "s").exists()


def test_a_second_driver_on_one_study_is_refused(tmp_path):
    slow = ["run", TOY, "--local", "--set", "toy.seconds_per_evaluation=0.5"]
    first = subprocess.Popen(command(*slow), cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        _wait_for(tmp_path / "runs/toy/trials")
        second = loratory(*slow, cwd=tmp_path)
        assert second.returncode == 2
        assert f"process {first.pid}" in second.stderr
    finally:
        first.kill()
        first.wait()


def test_ctrl_c_leaves_every_trial_resumable_and_says_how(tmp_path):
    slow = ["run", TOY, "--local", "--set", "trials=3", "--set", "toy.seconds_per_evaluation=0.2"]
    process = subprocess.Popen(command(*slow), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    _wait_for(tmp_path / "runs/toy/trials/0001")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: loratory run" in output
    status = json.loads(loratory("status", "runs/toy", "--json", cwd=tmp_path).stdout)
    assert status["done"] < 3
    assert status["trials"]
    again = loratory(*slow[:4], "trials=3", "--set", "toy.seconds_per_evaluation=0.2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len([r for r in StudyFolder(tmp_path / "runs/toy").read_records() if r.state != "INFEASIBLE"]) == 3


def _wait_for(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.05)


def test_init_writes_a_study_file_that_is_valid_and_refuses_to_overwrite_it(tmp_path):
    from loratory.spaces import load_study

    assert loratory("init", "mine.yaml", cwd=tmp_path).returncode == 0
    assert load_study(tmp_path / "mine.yaml").name
    again = loratory("init", "mine.yaml", cwd=tmp_path)
    assert again.returncode == 2
    assert "mine.yaml" in again.stderr


def test_exit_statuses_need_no_home_and_no_terminal(tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(command("--help"), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "quickstart" in done.stdout


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("study.db", b"garbage", "study.db: must be the study's SQLite database"),
        ("study.db", None, "has no row for recorded trial 0; restore study.db"),
        ("study.json", None, "study.db: must belong to study.json"),
        ("study.json", b"{", "study.json: must be a study manifest"),
        ("trials/0001/record.json", b"{", "trials/0001/record.json: must be a record"),
    ],
)
def test_a_damaged_study_folder_is_a_line_that_names_the_file(name, damage, words, finished_toy, tmp_path):
    shutil.copytree(finished_toy, tmp_path / "runs")
    path = tmp_path / "runs" / "toy" / name
    path.unlink() if damage is None else path.write_bytes(damage)
    done = loratory("run", TOY, "--local", "--set", "trials=3", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.fixture(scope="module")
def finished_toy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert loratory("run", TOY, "--local", "--set", "trials=3", cwd=folder).returncode == 0
    return folder / "runs"


@pytest.mark.parametrize("kibibytes", [140, 4])
def test_a_full_disk_says_so_and_the_study_goes_on_when_there_is_room(tmp_path, kibibytes):
    if os.geteuid() != 0:
        pytest.skip("NEEDS ROOT: a small file system to fill")
    runs = tmp_path / "runs"
    runs.mkdir()
    options = f"size={kibibytes}k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(runs)], check=False).returncode:
        pytest.skip("NEEDS mount: a small file system to fill")
    try:
        full = loratory("run", TOY, "--local", "--set", "trials=60", cwd=tmp_path)
        assert full.returncode == 1, full.stdout
        assert "the disk is full; free some space" in full.stderr
        assert len(full.stderr.strip().splitlines()) == 1, full.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", str(runs)], check=True)
        again = loratory("run", TOY, "--local", "--set", "trials=60", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert sum(r.state != "INFEASIBLE" for r in StudyFolder(runs / "toy").read_records()) == 60
    finally:
        subprocess.run(["umount", str(runs)], check=True)
