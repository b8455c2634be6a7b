import io
import sys

import pytest

from loratory.objectives.data.shown import COLUMNS, learned_marks, share


@pytest.fixture
def long_rows(alpaca_rows):
    return [{**row, "instruction": f"{row['instruction']} {'很长的问题' * 30}\t."} for row in alpaca_rows(40)]


def test_a_row_of_each_split_with_what_is_learned(prepare, write_jsonl, alpaca_rows, chat_tokenizer):
    path, test = write_jsonl(alpaca_rows(40)), write_jsonl(alpaca_rows(5, start=60), "test.jsonl")
    found = prepare(path, using=chat_tokenizer, test=test)
    text = "\n".join(found.shown)
    for name in ("train", "dev", "select", "test"):
        example = getattr(found.data, name)[0]
        assert (
            f"{name} ({example.example_id}, {len(example):,} tokens, {len(example.answer_ids)} with" in text
        )
        assert f"<|im_start|>assistant▌{example.reference}<|im_end|>▐" in text.replace("\n  ", "")


def test_lines_fit_the_terminal_and_hold_no_control_characters(prepare, write_jsonl, long_rows):
    shown = prepare(write_jsonl(long_rows)).shown
    wide = [sum(2 if "一" <= c <= "鿿" else 1 for c in line) for line in shown if line.startswith("  ")]
    assert max(wide) <= COLUMNS
    assert all(line.isprintable() for line in shown)
    assert any("\\t" in line for line in shown)


def test_a_terminal_that_is_not_utf_8_gets_other_marks(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert learned_marks() == ("[[", "]]")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert learned_marks() == ("▌", "▐")


def test_lengths_with_the_share_that_is_removed_or_cut(prepare, write_jsonl, alpaca_rows):
    rows = alpaca_rows(40)
    rows[3]["output"] = "much too long " * 100
    found = prepare(write_jsonl(rows), max_length=200, evaluation={"max_new_tokens": 5})
    scored = len(found.data.dev) + len(found.data.select)
    assert "train: 1 of 40 rows (2.5%) removed for their length (data.max_length 200)" in found.shown
    assert (
        f"dev, select, test: {scored} of {scored} answers (100.0%) are longer than what is decoded "
        "(evaluation.max_new_tokens 5)"
    ) in found.shown
    longest = next(line for line in found.shown if "prompt and answer" in line).split()[-1]
    assert int(longest) == found.data.train.lengths.max()


def test_columns_that_are_used_and_those_that_are_not(prepare, write_jsonl, alpaca_rows):
    rows = [{**row, "source": "web"} for row in alpaca_rows(40)]
    assert (
        "train: columns used: instruction, input, output; not used: source"
        in prepare(write_jsonl(rows)).shown
    )
    plain = prepare(write_jsonl(alpaca_rows(40))).shown
    assert any(line.endswith("not used: none") for line in plain)


def test_a_small_share_is_not_none():
    assert [share(1, 100_000), share(0, 5), share(1, 3)] == ["under 0.1%", "0.0%", "33.3%"]
