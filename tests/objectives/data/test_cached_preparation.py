import os
from pathlib import Path

import numpy as np
import pytest

from loratory.objectives.data import cached_preparation, sources
from loratory.objectives.data.cached_preparation import prepare_cached
from loratory.objectives.data.prepared import Examples, PreparedData

BEGAN = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def prepared(make_study, tokenizer, tmp_path, monkeypatch):
    """Prepare with a cache, and count how often anything is prepared: `prepared.count`."""

    def run(train, *, using=None, base="b", positions=None, began=BEGAN, **options):
        return prepare_cached(
            make_study(train, **options),
            using or tokenizer,
            cache=tmp_path / "data",
            tokenizer_sha256=base,
            max_positions=positions,
            created_at=began,
        )

    def counted(*args, **options):
        run.count += 1
        return prepare(*args, **options)

    prepare, run.count = cached_preparation.prepare_data, 0
    run.file = tmp_path / "data" / "prepared.cache"
    monkeypatch.setattr(cached_preparation, "prepare_data", counted)
    return run


def _equal(first, second):
    assert first.summary == second.summary
    assert first.files == second.files
    assert first.removed == second.removed
    for name in PreparedData.__dataclass_fields__:
        one, other = getattr(first.data, name), getattr(second.data, name)
        assert (list(one) == list(other)) if isinstance(one, Examples) else one == other, name


def test_what_was_prepared_is_not_prepared_again(prepared, write_jsonl, alpaca_rows):
    rows = alpaca_rows(60, groups=20)
    train = write_jsonl([*rows, rows[0]])
    first = prepared(train)
    second = prepared(train)
    assert prepared.count == 1
    assert second.removed
    _equal(first, second)
    second.data.train.token_ids[0] += 1  # torch takes no arrays that are read-only
    assert np.array_equal(first.data.train.prompt_lengths, second.data.train.prompt_lengths)


def test_labels_masks_and_kept_tokens_are_kept(prepared, write_jsonl, chat_tokenizer):
    turns = [
        {"role": role, "content": f"{role} says {n}"}
        for n, role in enumerate(("user", "assistant", "user", "assistant"))
    ]
    rows = [
        {"messages": [{**turn, "content": f"{turn['content']} {n % 9} {n}"} for turn in turns]}
        for n in range(40)
    ]
    options = {"using": chat_tokenizer, "learn": "all"}
    first, second = (prepared(write_jsonl(rows), **options) for _ in range(2))
    assert prepared.count == 1
    assert second.data.train.learned is not None
    _equal(first, second)
    rows = [{"prompt": f"text {n}", "completion": ("-1", "1")[n % 2]} for n in range(40)]
    for _ in range(2):
        found = prepared(write_jsonl(rows), task="classification")
    assert (prepared.count, found.data.labels) == (2, ("-1", "1"))


@pytest.mark.parametrize(
    "change",
    [
        {"base": "c"},
        {"positions": 900},
        {"began": "2026-01-03T03:04:05+00:00"},
        {"max_length": 200},
        {"cleaning": {"leaked": False}},
        {"evaluation": {"dev_examples": 3}},
    ],
)
def test_whatever_decides_the_data_prepares_it_again(prepared, write_jsonl, alpaca_rows, change):
    train = write_jsonl(alpaca_rows(60))
    prepared(train)
    prepared(train, **change)
    prepared(train, **change)
    assert prepared.count == 2
    assert [file.name for file in prepared.file.parent.iterdir()] == ["prepared.cache"], "none piles up"


def test_another_template_prepares_again(prepared, write_jsonl, alpaca_rows, make_tokenizer, templates):
    train = write_jsonl(alpaca_rows(60))
    for name in ("CHATML", "STRICT", "STRICT"):
        found = prepared(train, using=make_tokenizer(templates[name]))
    assert prepared.count == 2
    assert found.data.train[0].prompt.startswith("<s><user>")


def test_a_changed_file_of_the_same_size_and_time_is_read_again(prepared, write_jsonl, alpaca_rows):
    train = Path(write_jsonl(alpaca_rows(60)))
    times = train.stat()
    first = prepared(str(train))
    train.write_text(train.read_text().replace("number 7.", "number 8."))
    os.utime(train, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert prepared(str(train)).data.sha256 != first.data.sha256


def test_a_file_of_a_glob_that_is_added_is_read(prepared, write_jsonl, alpaca_rows, tmp_path):
    write_jsonl(alpaca_rows(30), "part-1.jsonl")
    pattern = str(tmp_path / "part-*.jsonl")
    prepared(pattern)
    write_jsonl(alpaca_rows(30, start=30), "part-2.jsonl")
    assert len(prepared(pattern).data.train) > 30


def test_a_file_that_changes_while_it_is_read_is_not_kept(prepared, write_jsonl, alpaca_rows, monkeypatch):
    train = write_jsonl(alpaca_rows(60))
    prepare = cached_preparation.prepare_data

    def meanwhile(*args, **options):
        write_jsonl(alpaca_rows(61))
        return prepare(*args, **options)

    monkeypatch.setattr(cached_preparation, "prepare_data", meanwhile)
    prepared(train)
    assert not prepared.file.exists()


@pytest.mark.parametrize("damage", ["cut", "emptied", "one bit", "first line"])
def test_a_damaged_cache_is_seen_and_the_data_prepared_again(prepared, write_jsonl, alpaca_rows, damage):
    train = write_jsonl(alpaca_rows(60))
    first = prepared(train)
    content = bytearray(prepared.file.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    elif damage == "first line":
        content[0] ^= 1
    else:
        content = content[: len(content) // 2 if damage == "cut" else 0]
    prepared.file.write_bytes(content)
    second = prepared(train)
    assert second.summary[0].startswith("data/prepared.cache is damaged")
    assert second.data.sha256 == first.data.sha256
    _equal(first, prepared(train))
    assert prepared.count == 2


def test_a_cache_that_cannot_be_written_costs_a_line(prepared, write_jsonl, alpaca_rows):
    prepared.file.parent.write_text("a file in the place of the folder")
    found = prepared(write_jsonl(alpaca_rows(60)))
    assert found.summary[0].startswith("data/prepared.cache")
    assert found.data.train


def test_a_hub_data_set_is_kept_by_its_commit_alone(make_study):
    assert sources.named_files(make_study("owner/name").data) is None
    assert sources.named_files(make_study("owner/name", hub_revision="main").data) is None
    assert sources.named_files(make_study("owner/name", hub_revision="0" * 40).data) == {"train": []}
    assert sources.named_files(make_study("builtin:quickstart").data) == {}
