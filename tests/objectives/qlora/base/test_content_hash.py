"""The hash of a base, and what this node keeps of it."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from loratory.objectives.node_cache import node_cache
from loratory.objectives.qlora.base import content_hash
from loratory.objectives.qlora.base.content_hash import content_sha256


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(base_folder, tmp_path):
    copy = tmp_path / "base"
    shutil.copytree(base_folder(), copy)
    return copy


@pytest.fixture
def kept(folder, monkeypatch):
    """Let hashes of small files be kept too, of a base that was written long ago; return where."""
    monkeypatch.setattr(content_hash, "_WORTH_KEEPING_BYTES", 100_000)
    monkeypatch.setattr(content_hash, "_SETTLED_NS", -(10**12))
    content_sha256(folder)
    return node_cache() / "hashes"


def test_hash_follows_content_and_not_place(folder, base_folder):
    before = content_sha256(folder)
    assert before == content_sha256(base_folder())
    (folder / "README.md").write_text("a note")
    assert content_sha256(folder) == before
    weights = folder / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert content_sha256(folder) != before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
def test_hash_covers_configuration_and_tokenizer(folder, name):
    before = content_sha256(folder)
    (folder / name).write_text((folder / name).read_text() + " ")
    assert content_sha256(folder) != before


def test_hash_without_weights_is_that_of_configuration_and_tokenizer(folder):
    before = content_sha256(folder, weights=False)
    (folder / "model.safetensors").unlink()
    assert content_sha256(folder, weights=False) == before
    (folder / "config.json").write_text("{}")
    assert content_sha256(folder, weights=False) != before


def test_an_unchanged_large_file_is_not_read_again(folder, kept):
    known = next(kept.iterdir())
    entry = json.loads(known.read_text())
    assert entry["size"] == (folder / "model.safetensors").stat().st_size
    before = content_sha256(folder)
    known.write_text(json.dumps(entry | {"sha256": "0" * 64}))  # only who believes it sees this
    assert content_sha256(folder) != before


@pytest.mark.parametrize("keep_times", [True, False])
def test_a_changed_file_is_read_again(folder, kept, keep_times):
    before = content_sha256(folder)
    weights = folder / "model.safetensors"
    status = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    time.sleep(0.02)  # a file system counts times in steps
    weights.write_bytes(content)
    if keep_times:  # as a program may that means no good
        os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_sha256(folder) != before


def test_a_file_that_was_just_written_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(content_hash, "_WORTH_KEEPING_BYTES", 100_000)
    content_sha256(folder)
    assert not (node_cache() / "hashes").exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}"])
def test_a_damaged_entry_is_read_over(folder, kept, damage):
    before = content_sha256(folder)
    next(kept.iterdir()).write_text(damage)
    assert content_sha256(folder) == before


def test_a_cache_that_cannot_be_written_costs_time_only(folder, kept, monkeypatch, tmp_path):
    before = content_sha256(folder)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "file"))
    assert content_sha256(folder) == before


def test_the_cache_lies_where_caches_lie(monkeypatch, tmp_path):
    monkeypatch.delenv("LORATORY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert node_cache() == tmp_path / "loratory"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert node_cache() == tmp_path / ".cache" / "loratory"
    monkeypatch.setenv("LORATORY_CACHE", "~/elsewhere")
    assert node_cache() == Path(tmp_path, "elsewhere")
