import errno
import sqlite3

from optuna.exceptions import StorageInternalError

from loratory.search import full_disk as module
from loratory.search.full_disk import full_disk


def test_a_write_that_did_not_fit_is_a_line_however_much_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "disk_free", lambda _: 50 * 2**20)
    told = full_disk(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert told is not None and told.exit_status == 1
    assert str(told) == (
        f"{tmp_path}: the disk is full; free some space and run the same command again to go on "
        "(50 MiB is free, too little for the file)"
    )
    assert full_disk(OSError(errno.EDQUOT, "Disk quota exceeded"), tmp_path) is not None
    assert full_disk(OSError(errno.EIO, "Input/output error"), tmp_path) is None


def test_sqlite_s_own_error_counts_behind_that_of_optuna(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "disk_free", lambda _: 50 * 2**20)
    error = StorageInternalError("invalid data in the commit")
    assert full_disk(error, tmp_path) is None
    error.__cause__ = sqlite3.OperationalError("database or disk is full")
    assert full_disk(error, tmp_path) is not None


def test_a_file_system_without_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "disk_free", lambda _: None)
    assert full_disk(StorageInternalError("disk I/O error"), tmp_path) is None
    told = full_disk(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert told is not None and str(told).endswith("to go on")


def test_with_next_to_nothing_free_any_failed_write_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "disk_free", lambda _: 0)
    told = full_disk(StorageInternalError("disk I/O error"), tmp_path)
    assert told is not None and "nothing is free" in str(told)
