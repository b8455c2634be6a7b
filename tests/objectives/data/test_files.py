import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loratory.objectives.data.files import read_file
from loratory.spaces.errors import InputError

ROWS = [
    {"instruction": "Say ä, 你好 and \u2028 too.", "output": 'He said "yes",\nthen left.'},
    {"instruction": "Second", "output": "row"},
]


def _fields(path):
    return [row.fields for row in read_file(path, path.name)]


def test_every_file_kind_gives_the_same_rows(tmp_path):
    jsonl, array, parquet = tmp_path / "a.jsonl", tmp_path / "a.json", tmp_path / "a.parquet"
    jsonl.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in ROWS), encoding="utf-8")
    array.write_text(json.dumps(ROWS, indent=2), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(ROWS), parquet)
    paths = [jsonl, array, parquet]
    for suffix, dialect in ((".csv", "excel"), (".tsv", "excel-tab")):
        path = tmp_path / f"a{suffix}"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["instruction", "output"], dialect=dialect)
            writer.writeheader()
            writer.writerows(ROWS)
        paths.append(path)
    assert [_fields(path) for path in paths] == [ROWS] * 5


def test_jsonl_numbers_rows_by_line_and_passes_over_blank_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "1"}\r\n\r\n{"a": "2"}')
    assert [(row.number, row.fields["a"]) for row in read_file(path, "a.jsonl")] == [(1, "1"), (3, "2")]


def test_a_csv_cell_of_any_length_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"prompt,completion\n{'x' * 200_000},y\n", encoding="utf-8")
    assert len(_fields(path)[0]["prompt"]) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": "1"}\n{"a": \n', r"a.jsonl, row 2: must be valid JSON: .* \(it ends too early\)"),
        ("a.jsonl", b'{"a": "1"\n{"a": "2"}\n', r"a.jsonl, row 1: .* \(it ends too early\)"),
        (
            "a.jsonl",
            b'{"a": "b\n',
            r"Unterminated string \(column 7\); data.bad_rows: remove leaves such rows out$",
        ),
        ("a.jsonl", b'{"a": "1"}\n{"a" "2"}\n', r"a.jsonl, row 2: .* \(column 6\)"),
        ("a.jsonl", b'{"a": "1"}\n["a"]\n', "a.jsonl, row 2: must be an object of columns, got list"),
        ("a.jsonl", b'{"a": "1"}\n{"a": "\xe9"}\n', "a.jsonl, row 2: must be UTF-8, byte 0xe9 is not"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, row 1: must be valid JSON"),
        ("a.jsonl", b"", "a.jsonl: must hold rows, is empty"),
        ("a.jsonl", b"\n \n", "a.jsonl: must hold rows, is empty"),
        ("a.json", b"[]", "a.json: must hold rows, is empty"),
        ("a.json", b'[{"a": 1},\n{"a" 2}]', r"a.json: must be valid JSON: .* \(line 2\)"),
        ("a.csv", b"a,b\n", "a.csv: must hold rows, is empty"),
        ("a.csv", b"a,b\n1,2\n3\n", r"a.csv, row 2 \(line 3\): must have 2 cells, got 1"),
        ("a.csv", b"a,a\n1,2\n", "columns must have names of their own, got a, a"),
        ("a.csv", b'a,b\n1,2\n"3" x,4\n', "a.csv, row 2: must be valid CSV"),
        ("a.csv", "a,b\n1,ü\n".encode("latin-1"), "a.csv, line 2: must be UTF-8, byte 0xfc is not"),
        ("a.parquet", b"PAR1 no", "a.parquet: must be a Parquet file"),
        ("a.xlsx", b"", "a.xlsx: must end in .jsonl, .json, .csv, .tsv, .parquet"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_row(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_file(path, name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_paths_start(tmp_path):
    with pytest.raises(InputError, match=r"b\.jsonl: no such file; paths are relative to"):
        read_file(tmp_path / "b.jsonl", "b.jsonl")


def test_parquet_text_that_is_not_utf8_is_named_by_row(tmp_path):
    path = tmp_path / "a.parquet"
    words = pa.array([b"good", b"b\xe9d"], type=pa.binary())
    text = pa.StringArray.from_buffers(2, words.buffers()[1], words.buffers()[2])
    pq.write_table(pa.table({"prompt": text}), path)
    with pytest.raises(InputError, match=r"a\.parquet, row 2: must be UTF-8, byte 0xe9"):
        read_file(path, "a.parquet")


def test_an_empty_parquet_file(tmp_path):
    pq.write_table(pa.table({"prompt": pa.array([], type=pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="must hold rows, is empty"):
        read_file(tmp_path / "a.parquet", "a.parquet")


def test_nulls_that_arrow_adds_are_left_out_of_nested_lists_and_maps(tmp_path):
    calls = [{"name": "f", "arguments": {"city": "Oslo"}}, {"name": "g", "arguments": {"day": 3}}]
    rows = [{"talk": {"turns": [{"calls": calls}], "note": None}, "pairs": [("a", 1)]}]
    kinds = pa.map_(pa.string(), pa.int64())
    table = pa.Table.from_pylist([{"talk": row["talk"]} for row in rows])
    table = table.append_column("pairs", pa.array([row["pairs"] for row in rows], type=kinds))
    pq.write_table(table, tmp_path / "a.parquet")
    assert _fields(tmp_path / "a.parquet") == [
        {"talk": {"turns": [{"calls": calls}], "note": None}, "pairs": {"a": 1}}
    ]
