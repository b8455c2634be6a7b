"""A cluster started by `ray start --head`: joined with its token, refused in a line without it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from loratory.objectives.study_folder import StudyFolder
from loratory.search.executors.cluster import check_cluster, resolve_address
from loratory.search.executors.ray_token import _set_mode, find_token
from loratory.spaces.errors import InputError

TOKEN = "0123456789abcdef" * 4
RAY = Path(sys.executable).with_name("ray")
TOY = Path(__file__).parents[2] / "examples" / "toy.yaml"
OF_RAY = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_TMPDIR")


@pytest.fixture(scope="module")
def head() -> Iterator[tuple[str, Path]]:
    """HOST:PORT of a head that was started by the plain command where a token lies, and that home folder."""
    # Ray's sockets need a short path; pytest's is too long.
    folder = Path(tempfile.mkdtemp(prefix="lr-", dir="/tmp"))
    _put_token(folder / "home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {n: v for n, v in os.environ.items() if n not in OF_RAY} | {"HOME": str(folder / "home")}
    options = [
        "--num-cpus=1",
        "--include-dashboard=false",
        "--disable-usage-stats",
        f"--temp-dir={folder}/ray",
    ]
    log = folder / "head.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [RAY, "start", "--head", f"--port={port}", "--block", *options],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 90
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        address = resolve_address(f"localhost:{port}")
        assert address is not None
        yield address, folder / "home"
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _put_token(home: Path, token: str = TOKEN) -> Path:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(token)
    return file


@pytest.fixture(autouse=True)
def no_token(tmp_path):
    """An environment in which nothing says how Ray is to authenticate."""
    before = dict(os.environ)
    for name in OF_RAY:
        os.environ.pop(name, None)
    os.environ["HOME"] = str(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)
    # Ray keeps the mode that it has read.
    _set_mode(before.get("RAY_AUTH_MODE"))


def test_the_token_that_is_there_is_used_without_being_asked_for(head, tmp_path, monkeypatch):
    address, home = head
    monkeypatch.setenv("HOME", str(home))
    command = [sys.executable, "-m", "loratory.search.main", "run", str(TOY), "--set", "trials=2"]
    done = subprocess.run(
        [*command, "--address", address, "--runs", str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(StudyFolder(tmp_path / "toy").read_records()) >= 2


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (None, "wants a token, and .* has none .*: copy ~/.ray/auth_token from"),
        ("home", "refuses the token of .*/.ray/auth_token on .*: put that of"),
        ("RAY_AUTH_TOKEN", "refuses the token of RAY_AUTH_TOKEN on"),
        ("RAY_AUTH_TOKEN_PATH", r"refuses the token of .*mine \(RAY_AUTH_TOKEN_PATH\)"),
        ("RAY_AUTH_MODE", "RAY_AUTH_MODE is disabled on .*: unset it"),
    ],
)
def test_a_missing_or_wrong_token_is_said_at_once(place, words, head, tmp_path, monkeypatch):
    match place:
        case "home":
            _put_token(tmp_path, "wrong")
        case "RAY_AUTH_TOKEN":
            monkeypatch.setenv(place, "wrong")
        case "RAY_AUTH_TOKEN_PATH":
            (tmp_path / "mine").write_text("wrong\n")
            monkeypatch.setenv(place, str(tmp_path / "mine"))
        case "RAY_AUTH_MODE":
            monkeypatch.setenv(place, "disabled")
    began = time.monotonic()
    with pytest.raises(InputError, match=words):
        check_cluster(head[0])
    assert time.monotonic() - began < 5
    assert os.environ.get("RAY_AUTH_MODE") in (None, "disabled")


def test_the_mode_is_taken_back_when_the_cluster_is_left(head, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    leave = check_cluster(head[0])
    assert os.environ["RAY_AUTH_MODE"] == "token"
    leave()
    assert "RAY_AUTH_MODE" not in os.environ


@pytest.mark.parametrize("versions", [("2.1.0", "3.11.7"), ("here", "3.9.1")])
def test_other_versions_are_named_with_their_machines(versions, head, monkeypatch):
    import ray

    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    theirs = ray.__version__ if versions[0] == "here" else versions[0]
    with _claimed_versions(head[0], theirs, versions[1]), pytest.raises(InputError) as refused:
        check_cluster(head[0])
    words = str(refused.value)
    assert f"has Ray {theirs} on Python {versions[1]}" in words and f"has Ray {ray.__version__} on" in words
    assert socket.gethostname() in words


class _claimed_versions:  # noqa: N801 (a context manager)
    """Let the head say that it has other versions."""

    def __init__(self, address: str, ray_version: str, python_version: str) -> None:
        channel = grpc.insecure_channel(address)
        self._kv = gcs_service_pb2_grpc.InternalKVGcsServiceStub(channel)
        self._claim = {"ray_version": ray_version, "python_version": python_version}
        self._key = {"namespace": b"cluster", "key": b"CLUSTER_METADATA"}
        self._metadata = [("authorization", f"Bearer {TOKEN}")]

    def _put(self, value: bytes) -> None:
        request = gcs_service_pb2.InternalKVPutRequest(**self._key, value=value, overwrite=True)
        self._kv.InternalKVPut(request, metadata=self._metadata)

    def __enter__(self) -> None:
        request = gcs_service_pb2.InternalKVGetRequest(**self._key)
        self._before = self._kv.InternalKVGet(request, metadata=self._metadata).value
        self._put(json.dumps(self._claim).encode())

    def __exit__(self, *_: object) -> None:
        self._put(self._before)


def test_a_machine_that_is_no_node_is_told_how_to_become_one(head, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setattr("ray._private.services.find_node_ids", list)
    with pytest.raises(InputError, match=f"RAY_AUTH_MODE=token ray start --address={head[0]}"):
        check_cluster(head[0])


def test_a_file_that_cannot_be_read_is_named(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere/token")
    with pytest.raises(InputError, match=r"RAY_AUTH_TOKEN_PATH: must name a file .* /nowhere/token"):
        find_token()


@pytest.mark.parametrize("address", ["nonsense", "host:port:more"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InputError, match="must be HOST:PORT"):
        resolve_address(address)


class _OtherProtocol(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):
    """A head that is alive and has no other service, as one of another release of Ray may be."""

    def CheckAlive(self, *_: object) -> gcs_service_pb2.CheckAliveReply:  # noqa: N802 (Ray's name)
        return gcs_service_pb2.CheckAliveReply()


def test_a_head_of_another_protocol_is_refused_in_a_line():
    server = grpc.server(ThreadPoolExecutor(1))
    gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(_OtherProtocol(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(InputError, match="must be the head of a Ray cluster"):
            check_cluster(f"127.0.0.1:{port}")
    finally:
        server.stop(None)


def test_a_port_of_something_else_is_refused_in_a_line(monkeypatch):
    monkeypatch.setattr("loratory.search.executors.cluster._CONNECT_SECONDS", 0.5)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        began = time.monotonic()
        with pytest.raises(InputError, match="must be the head of a Ray cluster"):
            check_cluster(f"127.0.0.1:{other.getsockname()[1]}")
        assert time.monotonic() - began < 5
