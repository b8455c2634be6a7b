"""Ray on this machine: on the process's cores, with a short folder, whatever HOME and TMPDIR are."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from loratory.search.executors.own_ray import prepare_own_ray
from loratory.search.executors.ray_token import find_token
from loratory.spaces.errors import InputError

TOY = Path(__file__).parents[2] / "examples" / "toy.yaml"

RUN = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from loratory.search.executors.ray_workers import RayExecutor
from loratory.search.main import main
start = RayExecutor.start
def counted(self, prepared):
    workers = start(self, prepared)
    print("workers", len(workers), flush=True)
    return workers
RayExecutor.start = counted
main()
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_study_runs_on_one_core_without_home_under_a_long_tmpdir_to_an_ascii_log(tmp_path):
    long = tmp_path / ("x" * 93)
    long.mkdir()
    hostile = {"HOME": "/dev/null/home", "TMPDIR": str(long), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    arguments = ["run", str(TOY), "--set", "trials=3", "--runs", str(tmp_path / "é")]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env=os.environ | hostile,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "workers 1" in done.stdout
    (report,) = [line for line in done.stdout.splitlines() if line.startswith("report: ")]
    assert "/?" in report, "the path, with what ascii has"


def test_a_short_tmpdir_is_rays_own(monkeypatch, tmp_path):
    own = prepare_own_ray()
    assert own.folder is None and "_temp_dir" not in own.options


@pytest.mark.parametrize("tmpdir", ["/tmp/" + "x" * 93, "/dev/null/nowhere"])
def test_where_sockets_find_no_room_a_folder_of_ones_own_is_made_and_removed(tmpdir, monkeypatch):
    monkeypatch.setenv("TMPDIR", tmpdir)
    own = prepare_own_ray()
    assert own.folder is not None and own.options["_temp_dir"] == str(own.folder)
    assert stat.S_IMODE(own.folder.stat().st_mode) == 0o700
    assert len(str(own.folder)) < 30
    own.clean_up()
    assert not own.folder.exists()


def test_where_nothing_can_be_written_the_message_names_the_variable(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/dev/null/nowhere")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("loratory.search.executors.own_ray._OTHERS", ("/dev/null",))
    with pytest.raises(InputError, match="set RAY_TMPDIR to a folder whose path has at most"):
        prepare_own_ray()


def test_the_token_of_a_new_cluster_is_for_its_user_alone(tmp_path):
    prepare_own_ray()
    file = tmp_path / ".ray" / "auth_token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = find_token()
    assert token is not None and token.text == file.read_text() and token.text not in repr(token)
    prepare_own_ray()
    assert find_token() == token, "kept"


def test_without_a_home_the_token_is_in_the_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/dev/null/home")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    prepare_own_ray()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
