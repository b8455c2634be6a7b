import errno
import os
import sqlite3
import subprocess
import sys

import optuna
import pytest

from loratory.search import run_study
from loratory.search.rights import missing_right
from loratory.spaces.errors import InputError


def test_a_denied_file_is_named_and_its_folder_where_it_could_not_be_made(tmp_path):
    known = tmp_path / "study.json"
    known.touch()
    for path, shown in ((known, known), (tmp_path / ".study.json.abc", tmp_path)):
        told = missing_right(PermissionError(errno.EACCES, "Permission denied", str(path)))
        assert str(told).startswith(f"{shown}: must be readable and writable")
        assert told is not None and told.exit_status == 2


def test_a_read_only_database_is_found_behind_optunas_error(tmp_path):
    rows = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db")
    try:
        with rows._storage._backend.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            with pytest.raises(Exception, match="readonly") as caught:
                connection.exec_driver_sql("DELETE FROM studies")
    finally:
        rows._storage.remove_session()
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert "study.db" in str(missing_right(caught.value))


def test_other_errors_are_left():
    assert missing_right(OSError(errno.ENOSPC, "No space left", "x")) is None
    assert missing_right(ValueError("Permission denied")) is None
    assert missing_right(PermissionError(errno.EPERM, "Operation not permitted")) is None  # of a process


def test_a_study_folder_whose_lock_cannot_be_opened_is_refused(toy_study, tmp_path):
    (tmp_path / "toy" / "driver.lock").mkdir(parents=True)
    with pytest.raises(InputError, match="toy: must be a folder that can be written to"):
        run_study(toy_study(trials=2), runs=tmp_path, local=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run as another user")
def test_a_folder_without_the_right_to_write_ends_with_status_2(tmp_path):
    (tmp_path / "toy").mkdir(mode=0o555)
    command = [sys.executable, "-m", "loratory.search.main", "run", "examples/toy.yaml", "--local"]
    done = subprocess.run([*command, "--runs", str(tmp_path)], check=False, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
