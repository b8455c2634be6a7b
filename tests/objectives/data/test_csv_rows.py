import pytest

from loratory.objectives.data.files import read_file
from loratory.spaces.data import BadRows
from loratory.spaces.errors import InputError

ROW = {"prompt": "a, b", "completion": "c"}


def _fields(tmp_path, text, name="a.csv", encoding="utf-8", bad_rows=BadRows.STOP):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return [row.fields for row in read_file(path, name, bad_rows)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('prompt,completion\r\n"a, b",c\r\n', "a.csv"),
        ("prompt;completion\r\na, b;c\r\n", "a.csv"),
        ('"prompt";"completion"\n"a, b";"c"\n', "a.csv"),
        ("prompt\tcompletion\na, b\tc\n", "a.csv"),
        ("prompt|completion\na, b|c\n", "a.csv"),
        ("sep=;\r\nprompt;completion\r\na, b;c\r\n", "a.csv"),
        ("sep=\t\nprompt\tcompletion\na, b\tc\n", "a.csv"),
        ("prompt\tcompletion\na, b\tc\n", "a.tsv"),
        ("prompt;completion\na, b;c\n", "a.tsv"),
        ("prompt;completion;;\na, b;c;;\n", "a.csv"),
        ('\r\n prompt , completion \r"a, b",c\r', "a.csv"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_files_of_spreadsheets(tmp_path, text, name, encoding):
    if encoding == "utf-16-le" and text.startswith("\r"):
        pytest.skip("text without a byte order mark begins with a column")
    assert _fields(tmp_path, text, name, encoding) == [ROW]


def test_a_comma_in_a_name_of_a_semicolon_file(tmp_path):
    assert _fields(tmp_path, "question, long;answer\na;b\n") == [{"question, long": "a", "answer": "b"}]


def test_semicolons_in_a_comma_file_stay_text(tmp_path):
    assert _fields(tmp_path, "prompt,completion\nx;y,z;\n") == [{"prompt": "x;y", "completion": "z;"}]


def test_bad_rows_are_kept_with_their_problem(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n1,\xe9\n"2" x,3\n4\n5,"six\nlines"\n')
    rows = read_file(path, "a.csv", BadRows.REMOVE)
    assert [(row.number, row.problem[:13]) for row in rows] == [
        (1, "must be UTF-8"),
        (2, "must be valid"),
        (3, "must have 2 c"),
        (4, ""),
    ]
    assert rows[1].fields == {"text": '"2" x,3'}
    assert rows[3].fields == {"a": "5", "b": "six\nlines"}
    with pytest.raises(InputError, match=r"a\.csv, line 2: must be UTF-8"):
        read_file(path, "a.csv")


def test_quotes_after_a_space_are_no_text(tmp_path):
    assert _fields(tmp_path, 'prompt, completion\n"a, b", "c"\n') == [ROW]
    assert _fields(tmp_path, 'prompt,completion\n"a, b", c\n') == [{**ROW, "completion": " c"}]
