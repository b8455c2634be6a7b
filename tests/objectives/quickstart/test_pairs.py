import json
from collections import Counter
from pathlib import Path

import pytest

from loratory.objectives.quickstart import pairs
from loratory.objectives.quickstart.pairs import INSTRUCTION, Pair, choose_pairs, write_pairs
from loratory.objectives.quickstart.stdlib import Split, split_of


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _pair(number: int, *, length: int = 10, group: str = "a") -> Pair:
    return Pair(
        instruction=INSTRUCTION, input=f"def f{number}():".ljust(length, "x"), output="Do it.", group=group
    )


def test_files_have_the_asked_sizes_and_the_same_bytes_each_time(
    tmp_path: Path, stdlib_pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_pairs(tmp_path / "first", train_examples=800)
    monkeypatch.setattr(pairs, "gather_pairs", lambda: iter(stdlib_pairs[::-1]))
    again = write_pairs(tmp_path / "again", train_examples=800)
    assert first.counts == {Split.TRAIN: 800, Split.EVAL: 300, Split.TEST: 200}
    for split in Split:
        path = getattr(first, split)
        rows = _rows(path)
        assert path.read_bytes() == getattr(again, split).read_bytes()
        assert len(rows) == first.counts[split]
        assert {split_of(row["group"]) for row in rows} == {split}
        assert all(
            row.keys() == {"instruction", "input", "output", "group"} and row["output"] for row in rows
        )


def test_the_library_has_thousands_of_pairs_in_the_stated_shares(stdlib_pairs: list[Pair]) -> None:
    counts = Counter(split_of(pair.group) for pair in stdlib_pairs)
    # Some systems package tkinter and idlelib apart: a fifth of all pairs, every one in train.
    assert counts[Split.TRAIN] > 2500
    assert counts[Split.EVAL] > 1000
    assert counts[Split.TEST] > 500


def test_the_chosen_pairs_keep_copies_and_a_few_long_ones(stdlib_pairs: list[Pair]) -> None:
    chosen = choose_pairs([pair for pair in stdlib_pairs if split_of(pair.group) is Split.TRAIN], limit=800)
    long = [pair for pair in chosen if len(pair.input) + len(pair.output) > 800]
    assert len({(pair.input, pair.output) for pair in chosen}) < 800
    assert 5 <= len(long) <= 40


def test_choosing_does_not_depend_on_the_order_and_grows_with_the_limit() -> None:
    some = [_pair(number) for number in range(20)]
    assert choose_pairs(some[::-1], limit=10) == choose_pairs(some, limit=10)
    assert choose_pairs(some, limit=10) == choose_pairs(some, limit=20)[:10]


def test_copies_stay_together() -> None:
    some = [*(_pair(number) for number in range(20)), *(_pair(number, group="b") for number in range(20))]
    groups = [pair.group for pair in choose_pairs(some, limit=10)]
    assert groups == ["a", "b"] * 5


def test_without_a_limit_every_long_pair_is_kept() -> None:
    some = [_pair(number, length=1000) for number in range(100)]
    assert len(choose_pairs(some, limit=None)) == 100
    assert 0 < len(choose_pairs(some, limit=100)) < 30
