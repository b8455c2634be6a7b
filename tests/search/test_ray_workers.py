"""Real Ray: workers that die, and a cluster whose nodes cannot see the study folder."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from loratory.objectives.objective import Prepared
from loratory.objectives.study_folder import ADAPTER_WEIGHTS, StudyFolder
from loratory.search import run_study
from loratory.search.executors.ray_workers import RayExecutor
from loratory.search.optuna_rows import open_rows

LORATORY = [sys.executable, "-m", "loratory.search.main"]


def test_a_worker_that_dies_loses_no_trial(toy_study, tmp_path, assert_agreement):
    study = toy_study(trials=8, pruner="none", toy={"faults": {"exit": 0.3}}, seed=2)
    result = run_study(study, runs=tmp_path)
    records = result.folder.read_records()
    assert {record.state for record in records} == {"COMPLETE"}
    killed = [record for record in records if record.failures]
    assert killed
    assert {failure.kind for record in killed for failure in record.failures} == {"worker_lost"}
    assert not ray.is_initialized()
    assert_agreement(open_rows(result.folder, result.folder.read_manifest()), result.folder)


def _can_hide_folders() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0


# In a mount namespace of its own, an empty file system covers the folder of studies: no worker can see it.
CLUSTER = """
import os, sys
from ray.cluster_utils import Cluster
os.chdir(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=1)
print("address", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def blind_cluster(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of three Ray nodes, two of which have workers, and a folder that they cannot see."""
    if not _can_hide_folders():
        pytest.skip("NEEDS ROOT and unshare: a cluster that cannot see the study folder")
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    runs.mkdir()
    elsewhere.mkdir()
    hidden = f"mount -t tmpfs none {runs} && exec {sys.executable} -c '{CLUSTER}' {elsewhere}"
    host = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", hidden],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=elsewhere,
    )
    assert host.stdin is not None and host.stdout is not None
    address = next(line.split()[1] for line in host.stdout if line.startswith("address "))
    yield address, runs
    host.stdin.close()
    host.wait(timeout=60)


def test_workers_of_a_cluster_need_no_access_to_the_study_folder(blind_cluster, tiny_study, assert_agreement):
    address, runs = blind_cluster
    done = subprocess.run(
        [*LORATORY, "run", str(tiny_study), "--address", address, "--runs", str(runs)],
        cwd=tiny_study.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = StudyFolder(runs / "tiny")
    records = folder.read_records()
    complete = [record for record in records if record.state == "COMPLETE"]
    assert len(complete) == len(records) == 3
    for record in complete:
        names = {path.name for path in folder.trial(record.key).iterdir()}
        assert names >= {"record.json", "curve.jsonl", "scores.npz", "predictions.jsonl", "adapter"}
        weights = (folder.adapter(record.key) / ADAPTER_WEIGHTS).read_bytes()
        assert record.adapter is not None
        assert hashlib.sha256(weights).hexdigest() == record.adapter.sha256
    assert_agreement(open_rows(folder, folder.read_manifest()), folder)


def test_sigterm_stops_in_order_as_a_scheduler_expects(tmp_path):
    toy = Path(__file__).parents[2] / "examples" / "toy.yaml"
    slow = [*LORATORY, "run", str(toy), "--set", "toy.seconds_per_evaluation=0.3"]
    process = subprocess.Popen(
        slow, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    folder = StudyFolder(tmp_path / "runs" / "toy")
    deadline = time.monotonic() + 90
    while not list(folder.path.glob("trials/*/checkpoint-*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "go on with: loratory run" in output
    assert any(not record.state.finished for record in folder.read_records())


def test_a_ray_that_was_connected_before_is_used_and_left_running(toy_study, tmp_path):
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        result = run_study(toy_study(trials=2), runs=tmp_path)
        assert ray.is_initialized()
        assert len(result.folder.read_records()) == 2
    finally:
        ray.shutdown()


def test_workers_that_find_no_free_place_are_told_of(toy_study, tmp_path, monkeypatch):
    monkeypatch.setattr("loratory.search.executors.answer_clock._PATIENCE_SECONDS", 1.0)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    holder = ray.remote(_Holder).options(num_cpus=1).remote()
    executor = RayExecutor(toy_study())
    try:
        assert ray.get(holder.here.remote())
        assert list(executor.start(Prepared())) == [0]
        deadline, line = time.monotonic() + 30, None
        while line is None and time.monotonic() < deadline:
            executor.poll(0.5)
            line = executor.waiting()
        assert line is not None and "1 of 1 workers wait for a place" in line
        assert executor.waiting() is None, "said once a minute"
    finally:
        executor.close()
        ray.shutdown()


def _cannot_be_read() -> None:
    raise ModuleNotFoundError("no module named elsewhere")


class _Unreadable:
    """Pickles here, and cannot be read there."""

    def __reduce__(self):
        return _cannot_be_read, ()


def test_a_worker_that_cannot_read_what_was_prepared_is_broken(toy_study):
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    executor = RayExecutor(toy_study())
    try:
        executor.open()
        executor.start(Prepared(payload=_Unreadable()))
        broken, deadline = None, time.monotonic() + 60
        while broken is None and time.monotonic() < deadline:
            broken = next((message.broken for message in executor.poll(0.5) if message.broken), None)
        assert broken is not None
    finally:
        executor.close()
        ray.shutdown()


def test_a_worker_that_dies_before_it_begins_is_replaced(toy_study):
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    executor = RayExecutor(toy_study())
    try:
        executor.open()
        ray.kill(executor._actors[0], no_restart=True)
        executor.start(Prepared())
        kinds, deadline = [], time.monotonic() + 60
        while "Ready" not in kinds and time.monotonic() < deadline:
            for message in executor.poll(0.5):
                kinds += [type(event).__name__ for event in message.events]
                if message.broken:
                    kinds.append("broken")
                    executor.replace(message.worker)
        assert kinds == ["broken", "Ready"]
    finally:
        executor.close()
        ray.shutdown()


class _Holder:
    def here(self) -> bool:
        return True
