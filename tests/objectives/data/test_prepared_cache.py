import json
import os
from dataclasses import fields, replace

import pytest

from loratory.objectives.data import preparation_key as key_module
from loratory.objectives.data.preparation_key import preparation_key
from loratory.objectives.data.prepared_cache import prepare_once
from loratory.objectives.study_folder import PREPARED

CREATED = "2026-01-01T00:00:00+00:00"


class Preparer:
    """Prepares a study's data through the cache of a folder, and counts how often it is prepared anew."""

    def __init__(self, prepare, make_study, tokenizer, base, folder):
        self._prepare, self._make_study, self._base, self._folder = prepare, make_study, base, folder
        self.prepared = 0
        base.mkdir()
        tokenizer.save_pretrained(base)

    def __call__(self, train, *, created_at=CREATED, **options):
        def anew():
            self.prepared += 1
            return self._prepare(train, **options)

        study = self._make_study(train, **options)
        key = {"base": self._base, "revision": None, "max_positions": None, "created_at": created_at}
        found = prepare_once(anew, folder=self._folder, key=lambda: preparation_key(study, **key))
        self._folder.mkdir(exist_ok=True)
        for name, data in found.files.items():
            (self._folder / name).write_bytes(data)
        return found


@pytest.fixture
def cached(prepare, make_study, tokenizer, tmp_path):
    return Preparer(prepare, make_study, tokenizer, tmp_path / "base", tmp_path / "data")


def test_a_resume_prepares_nothing_and_finds_all(cached, write_jsonl, alpaca_rows, tmp_path):
    path = write_jsonl([*alpaca_rows(40, groups=10), alpaca_rows(1)[0] | {"output": ""}])
    first = cached(path)
    again = cached(path)
    assert cached.prepared == 1
    for name, split in first.data.named_splits.items():
        assert list(split) == list(getattr(again.data, name))
    values = [replace(made.data, **dict.fromkeys(made.data.SPLITS)) for made in (first, again)]
    assert values[0] == values[1]
    assert (first.summary, first.shown, first.removed) == (again.summary, again.shown, again.removed)
    written = {name: data for name, data in first.files.items() if name != PREPARED}
    assert again.files == written
    assert {field.name for field in fields(first)} == {"data", "summary", "files", "shown"}
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "examples.json",
        PREPARED,
        "removed.jsonl",
    ]


def test_a_changed_file_is_read_again_though_its_size_and_time_are_the_same(cached, write_jsonl, alpaca_rows):
    rows = alpaca_rows(40)
    path = write_jsonl(rows)
    first, times = cached(path), os.stat(path)
    rows[0]["output"] = rows[0]["output"].replace("river", "rover").replace("easy", "hard")
    write_jsonl(rows)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert os.stat(path).st_size == times.st_size
    second = cached(path)
    assert cached.prepared == 2
    assert first.data.sha256 != second.data.sha256
    cached(path)
    assert cached.prepared == 2, "the new one took the old one's place"


@pytest.mark.parametrize("what", ["settings", "evaluation", "date", "tokenizer", "code", "library"])
def test_what_else_prepares_again(cached, write_jsonl, alpaca_rows, monkeypatch, tmp_path, what):
    path = write_jsonl(alpaca_rows(40))
    cached(path)
    if what == "settings":
        cached(path, cleaning={"near_duplicate_threshold": 0.5})
    elif what == "evaluation":
        cached(path, evaluation={"dev_examples": 3})
    elif what == "date":
        cached(path, created_at="2026-01-02T00:00:00+00:00")
    else:
        if what == "tokenizer":
            (tmp_path / "base" / "chat_template.jinja").write_text("{{ messages }}")
        elif what == "code":
            monkeypatch.setattr(key_module, "_code", lambda: "another")
        else:
            monkeypatch.setattr(key_module, "version", lambda name: f"{name} 0")
        cached(path)
    assert cached.prepared == 2


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other"])
def test_a_damaged_file_is_recognised_and_made_again(cached, write_jsonl, alpaca_rows, tmp_path, damage):
    path = write_jsonl(alpaca_rows(40))
    first = cached(path)
    file = tmp_path / "data" / PREPARED
    content = file.read_bytes()
    flipped = (
        content[: len(content) // 2]
        + bytes([content[len(content) // 2] ^ 1])
        + content[len(content) // 2 + 1 :]
    )
    file.write_bytes({"cut": content[:-7], "bit": flipped, "empty": b"", "other": b"x" * 99}[damage])
    again = cached(path)
    assert cached.prepared == 2
    assert again.data.sha256 == first.data.sha256
    assert again.summary[-1] == f"{file} was damaged: the data is prepared again"
    assert not any("damaged" in line for line in cached(path).summary)
    assert cached.prepared == 2


def test_a_source_that_changes_meanwhile_is_not_kept(
    prepare, make_study, tokenizer, write_jsonl, alpaca_rows, tmp_path
):
    tokenizer.save_pretrained(tmp_path / "base")
    path = write_jsonl(alpaca_rows(40))

    def changing():
        found = prepare(path)
        write_jsonl(alpaca_rows(41))
        return found

    made_of = {"base": tmp_path / "base", "revision": None, "max_positions": None, "created_at": CREATED}
    key = lambda: preparation_key(make_study(path), **made_of)  # noqa: E731
    assert PREPARED not in prepare_once(changing, folder=tmp_path / "data", key=key).files


def test_a_data_set_of_the_hub_is_known_by_its_commit(make_study, tokenizer, tmp_path, monkeypatch):
    tokenizer.save_pretrained(tmp_path / "base")
    made_of = {"base": tmp_path / "base", "revision": None, "max_positions": None, "created_at": CREATED}
    keys = [preparation_key(make_study("owner/name", hub_revision=c * 40), **made_of) for c in "ab"]
    assert None not in keys and keys[0] != keys[1]
    monkeypatch.setattr(key_module, "_commit", lambda name, revision: None)
    assert preparation_key(make_study("owner/name"), **made_of) is None, "nothing is kept"


def test_nothing_is_kept_without_a_folder(prepare, write_jsonl, alpaca_rows):
    path = write_jsonl(alpaca_rows(40))
    found = prepare_once(lambda: prepare(path), folder=None, key=lambda: "key")
    assert PREPARED not in found.files
    assert json.loads(found.files["examples.json"])["sha256"] == found.data.sha256
