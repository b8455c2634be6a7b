import json

import pytest

from loratory.objectives.data.rows import Ledger, Part, RawRow, Role, Row, Turn
from loratory.objectives.data.screening import encoding_problem, screen


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plain", None),
        ("tab\tnew\r\nline\fpage", None),
        ("« Çà et là\xa0», Ângela, SÃO, naïve café – “quoted” 日本語 😀 ﷽", None),
        ("a\ufffdb", "holds replacement character U+FFFD at character 1"),
        ("\ud83d alone", "holds half a surrogate pair U+D83D at character 0"),
        ("a\x00", "holds control character U+0000 at character 1"),
        ("a\x1b[0m", "holds control character U+001B at character 1"),
        ("a\x85", "holds control character U+0085 at character 1"),
        ("cafÃ©", "holds 'Ã©' at character 3: UTF-8 read as Latin-1"),
        ("itâ€™s", "holds 'â€™' at character 2: UTF-8 read as Latin-1"),
        ("5Â\xa0km", "holds 'Â\\xa0' at character 1: UTF-8 read as Latin-1"),
    ],
)
def test_wrong_encodings_are_told_from_sound_text(text, problem):
    assert encoding_problem(text) == problem


@pytest.mark.parametrize("text", ["é", "ñ", "ü", "–", "“q", "’s", "€", "😀"])
def test_utf8_read_as_windows_1252_is_found(text):
    try:
        broken = text.encode().decode("cp1252")
    except UnicodeDecodeError:
        broken = text.encode().decode("latin-1")
    assert encoding_problem(f"x {broken} y") is not None


def test_removed_rows_keep_reason_place_and_content():
    raws = [
        RawRow(file="a.jsonl", number=n, fields={"t": text})
        for n, text in enumerate(["  ", "p", "\ud83d"], 1)
    ]
    answers = ["a", " \n", "a"]
    rows = [
        Row(raw=raw, turns=(Turn(Role.PROMPT, raw.fields["t"]),), answer=answer, group=None)
        for raw, answer in zip(raws, answers, strict=True)
    ]
    ledger = Ledger()
    assert screen(rows, Part.EVAL, ledger) == []
    entries = [json.loads(line) for line in ledger.to_jsonl().splitlines()]
    assert [(e["split"], e["row"], e["reason"]) for e in entries] == [
        ("eval", 1, "empty"),
        ("eval", 2, "empty"),
        ("eval", 3, "wrong_encoding"),
    ]
    assert [e["detail"] for e in entries][:2] == ["no prompt", "no answer"]
    assert entries[2]["content"] == {"t": "\ud83d"}
    assert ledger.counts(Part.EVAL) == {"empty": 2, "wrong_encoding": 1}
    assert ledger.counts(Part.TRAIN) == {}
