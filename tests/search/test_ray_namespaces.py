"""Two Ray nodes in network namespaces, as two machines: one has the token, and the other gets it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from loratory.objectives.study_folder import StudyFolder

pytestmark = pytest.mark.chaos

RAY = Path(sys.executable).with_name("ray")
TOY = Path(__file__).parents[2] / "examples" / "toy.yaml"
TOKEN = "fedcba9876543210" * 4
HEAD, NODE = "10.77.31.1", "10.77.31.2"
NAMES = {HEAD: f"lr-head-{os.getpid()}", NODE: f"lr-node-{os.getpid()}"}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _has_rights() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"lr-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode == 0
    if made:
        _ip("netns", "delete", name)
    return made


@pytest.fixture(scope="module")
def machines() -> Iterator[Path]:
    """Two namespaces that reach each other, and a folder with a home for each."""
    if not _has_rights():
        pytest.skip("NEEDS ROOT and ip: two network namespaces")
    folder = Path(tempfile.mkdtemp(prefix="lr-", dir="/tmp"))
    try:
        for name in NAMES.values():
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        ends = {HEAD: f"lrh{os.getpid()}", NODE: f"lrn{os.getpid()}"}
        _ip("link", "add", ends[HEAD], "type", "veth", "peer", "name", ends[NODE])
        for address, end in ends.items():
            _ip("link", "set", end, "netns", NAMES[address])
            _ip("-n", NAMES[address], "address", "add", f"{address}/24", "dev", end)
            _ip("-n", NAMES[address], "link", "set", end, "up")
            (folder / address / ".ray").mkdir(parents=True)
        (folder / HEAD / ".ray" / "auth_token").write_text(TOKEN)
        yield folder
    finally:
        for name in NAMES.values():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def _there(
    address: str, folder: Path, command: Sequence[str], **variables: str
) -> tuple[list[str], dict[str, str]]:
    """Return a command and its environment on one of the machines."""
    of_ray = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_TMPDIR")
    environment = {n: v for n, v in os.environ.items() if n not in of_ray}
    environment |= {"HOME": str(folder / address)} | variables
    return ["ip", "netns", "exec", NAMES[address], *map(str, command)], environment


@pytest.fixture(scope="module")
def nodes(machines: Path) -> Iterator[Path]:
    """A head and a node, each on a machine; both may hold one worker."""
    running = []
    try:
        for address, role, token in (
            (HEAD, ["--head", "--port=6379"], {}),
            (NODE, [f"--address={HEAD}:6379"], 1),
        ):
            options = [f"--node-ip-address={address}", "--num-cpus=1", "--disable-usage-stats", "--block"]
            if address == HEAD:
                options += ["--include-dashboard=false", f"--temp-dir={machines}/ray"]
            joins = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN} if token else {}
            command, environment = _there(address, machines, [RAY, "start", *role, *options], **joins)
            log = machines / f"{address}.log"
            with log.open("w") as output:
                process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
            running.append(process)
            deadline = time.monotonic() + 90
            while "Ray runtime started" not in log.read_text():
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        yield machines
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(timeout=60)


def _run(folder: Path, runs: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run the toy from the machine that is no head."""
    arguments = ["run", TOY, "--set", "trials=6", "--address", f"{HEAD}:6379", "--runs", runs]
    command, environment = _there(NODE, folder, [sys.executable, "-m", "loratory.search.main", *arguments])
    began = time.monotonic()
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=180)
    return done, time.monotonic() - began


def test_two_nodes_run_a_study_once_the_second_has_the_token(nodes, tmp_path):
    refused, seconds = _run(nodes, tmp_path)
    assert refused.returncode == 2 and f"copy ~/.ray/auth_token from {HEAD}" in refused.stderr
    assert seconds < 15, "imports included"

    file = nodes / NODE / ".ray" / "auth_token"
    file.write_text("wrong")
    refused, _ = _run(nodes, tmp_path)
    assert refused.returncode == 2 and f"refuses the token of {file}" in refused.stderr

    shutil.copy(nodes / HEAD / ".ray" / "auth_token", file)
    done, _ = _run(nodes, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(StudyFolder(tmp_path / "toy").read_records()) >= 6
