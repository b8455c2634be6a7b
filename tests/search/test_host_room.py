import os
import subprocess

import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.search.host_room import HostRoom, Shortage, disk_free

PLENTY = 2**40


def room_with(folder: StudyFolder, disk: int, memory: int = PLENTY, **changes) -> HostRoom:
    return HostRoom(folder, disk=lambda _: disk, memory=lambda: memory, **changes)


def write(folder: StudyFolder, key: str, name: str, count: int) -> None:
    folder.trial(key).mkdir(parents=True, exist_ok=True)
    (folder.trial(key) / name).write_bytes(b"x" * count)


def test_a_new_trial_needs_its_files_a_checkpoint_and_the_rest_of_those_that_run(tmp_path):
    folder = StudyFolder(tmp_path)
    write(folder, "0000", "scores.npz", 300)
    write(folder, "0001", "checkpoint-0001.bin", 400)
    room = room_with(folder, disk=1100)
    assert room.shortage([]) is None
    room.saw_files("0000")
    # Each of two trials holds 400, half of it is there; one at a time has another 400 beside it, and 300.
    assert room.shortage(["0001"]) is None
    room.saw_checkpoint(500)
    assert room.shortage(["0001"]) == Shortage(2 * 500 - 400 + 500 + 300, 1100, "disk")


def test_sizes_of_an_earlier_run_are_known_at_once(toy_study, open_study):
    opened = open_study(toy_study(trials=2, pruner="none"))
    opened.play()
    shortage = room_with(opened.folder, disk=0).shortage([])
    held = max(
        sum(path.stat().st_size for path in opened.folder.trial(key).rglob("*")) for key in ("0000", "0001")
    )
    assert shortage is not None and held <= shortage.needed_bytes <= 3 * held


def test_before_the_first_checkpoint_the_smallest_trial_counts(tmp_path):
    assert room_with(StudyFolder(tmp_path), disk=0).shortage([]) is None
    assert room_with(StudyFolder(tmp_path), disk=19, least_bytes=lambda: 10).shortage([]) == Shortage(
        20, 19, "disk"
    )
    room = room_with(StudyFolder(tmp_path), disk=20, memory=9, least_bytes=lambda: 10)
    assert room.shortage([]) == Shortage(10, 9, "main memory")


def test_a_file_system_without_a_size_has_room(tmp_path, monkeypatch):
    sizeless = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: sizeless)
    assert disk_free(tmp_path) is None
    room = HostRoom(StudyFolder(tmp_path), memory=lambda: PLENTY, least_bytes=lambda: 10)
    assert room.shortage([]) is None


def test_a_shortage_in_words():
    assert str(Shortage(3 * 2**30, 2**20, "disk")) == "one more trial may need 3.0 GiB of disk, 1 MiB is free"
    assert str(Shortage(1024, 0, "disk")) == "one more trial may need 1 KiB of disk, nothing is free"


def test_free_bytes_are_those_of_the_file_system(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("NEEDS ROOT: a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("NEEDS mount: a small file system")
    try:
        assert disk_free(tmp_path) == 64 * 1024
        (tmp_path / "half").write_bytes(b"x" * 32 * 1024)
        assert disk_free(tmp_path) == 32 * 1024
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
