import json

import pytest

from loratory.objectives.data.files import read_file
from loratory.spaces.data import BadRows
from loratory.spaces.errors import InputError

ROWS = [{"prompt": f"p{n}", "completion": "ü"} for n in range(3)]


def _read(tmp_path, name, text, bad_rows=BadRows.STOP):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_file(path, name, bad_rows)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS, indent=2),
        json.dumps(ROWS),
        "\n".join(json.dumps(row, indent=1) for row in ROWS),
        json.dumps({"version": "1.0", "tags": ["a", "b"], "data": ROWS}, indent=2),
        json.dumps({"rows": ROWS}),
        "\n \n" + "\n\n".join(json.dumps(row) for row in ROWS),
    ],
)
def test_rows_are_read_whatever_is_around_them(tmp_path, name, text):
    assert [row.fields for row in _read(tmp_path, name, text)] == ROWS


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a"}], "tools": [{"name": "t"}]},
        {"dialog": [{"from": "human", "value": "a"}]},
        {"prompt": "a", "completion": "b", "history": [{"q": 1}]},
        {"question": "a", "answers": ["b", "c"]},
    ],
)
def test_a_file_of_one_row_is_no_wrapped_list(tmp_path, row):
    assert [read.fields for read in _read(tmp_path, "a.jsonl", json.dumps(row))] == [row]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"data": ROWS, "extra": ROWS[:1]},
            r"a\.json: must hold one list of rows, holds data \(3 rows\), extra",
        ),
        (
            {"system": "Be a pirate.", "data": ROWS},
            "system stands beside the list data and would not be used",
        ),
        (
            {"prompt": {"0": "a"}, "completion": {"0": "b"}},
            r"must hold rows, holds columns \(prompt, completion\)",
        ),
        ({"prompt": ["a", "b"], "completion": ["c", "d"]}, "orient='records', lines=True"),
    ],
)
def test_objects_that_are_no_list_of_rows_are_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        _read(tmp_path, "a.json", json.dumps(content))


def test_bad_rows_are_kept_with_their_problem(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a" 1}\n{"a": "2"}\n{"a": "\xe9"}\n[3]\n{"a": "5"}')
    rows = read_file(path, "a.jsonl", BadRows.REMOVE)
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert [bool(row.problem) for row in rows] == [True, False, True, True, False]
    assert rows[0].fields == {"text": '{"a" 1}'} and "must be valid JSON" in rows[0].problem
    assert rows[2].fields == {"text": '{"a": "\\xe9"}'} and "must be UTF-8, byte 0xe9" in rows[2].problem
    assert rows[3].fields == {"value": [3]} and "must be an object of columns, got list" in rows[3].problem


def test_a_broken_array_stops_whatever_bad_rows_says(tmp_path):
    with pytest.raises(InputError, match=r"a\.jsonl, row 2: must be valid JSON: .* \(line 2\)"):
        _read(tmp_path, "a.jsonl", '[{"a": 1},\n{"a" 2}]', BadRows.REMOVE)
