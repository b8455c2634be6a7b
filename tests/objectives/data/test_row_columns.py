import math

import pytest

from loratory.objectives.data.formats import parse_rows
from loratory.objectives.data.rows import RawRow, Reason, Role
from loratory.spaces.data import BadRows, DataSpec
from loratory.spaces.errors import InputError

ALPACA = {"instruction": "a", "output": "b"}
TEXT = {"prompt": "a", "completion": "b"}
SQUAD = {"context": "c", "question": "q", "answers": {"text": ["a", "b"], "answer_start": [0, 1]}}


def _parse(*rows, **data):
    raws = [RawRow(file="a.jsonl", number=n, fields=fields) for n, fields in enumerate(rows, 1)]
    return parse_rows(raws, DataSpec(train="x", **data))


def _turns(parsed):
    return [(turn.role, turn.text) for turn in parsed.rows[0].turns]


def test_history_is_earlier_turns():
    parsed = _parse({**ALPACA, "history": [["q1", "a1"], ["q2", None]], "system": "s"})
    assert _turns(parsed) == [
        (Role.SYSTEM, "s"),
        (Role.USER, "q1"),
        (Role.ASSISTANT, "a1"),
        (Role.USER, "q2"),
        (Role.USER, "a"),
    ]
    assert _turns(_parse({**ALPACA, "history": '[["q1", "a1"]]'}))[0] == (Role.USER, "q1")
    with pytest.raises(InputError, match=r"history must be a list of pairs \[question, answer\], holds 'q1'"):
        _parse({**ALPACA, "history": ["q1"]})


def test_a_context_is_the_input_where_there_is_none():
    assert _turns(_parse({**ALPACA, "context": "[]"})) == [(Role.USER, "a"), (Role.INPUT, "[]")]
    assert _turns(_parse({**ALPACA, "context": "", "input": "x"}))[1] == (Role.INPUT, "x")
    with pytest.raises(InputError, match="input and context must not both be filled"):
        _parse({**ALPACA, "context": "c", "input": "x"})
    assert _turns(_parse({**ALPACA, "context": "c", "input": "x"}, columns={"context": None}))[1][1] == "x"


@pytest.mark.parametrize(
    "column",
    ["system", "System_Prompt", "tools", "history", "input", "context", "images", "chat_template_kwargs"],
)
def test_a_column_that_changes_what_is_learned_is_read_or_stops(column):
    with pytest.raises(InputError, match=f"row 2: the column {column} changes what is learned"):
        _parse({**TEXT, column: None}, {**TEXT, column: ["x"]}, bad_rows=BadRows.REMOVE)
    for empty in (None, "", [], math.nan, "[]"):
        assert _parse({**TEXT, column: empty}).unused == (column,)
    left_out = _parse({**TEXT, column: ["x"]}, columns={column: None})
    assert (left_out.rows[0].answer, left_out.unused) == ("b", (column,))
    assert _parse({**TEXT, column: "x"}, prompt_template="{prompt}").unused == (column,)


def test_columns_that_are_not_used_are_named():
    parsed = _parse({**ALPACA, "id": 1}, {**ALPACA, "source": "x", "input": "", "group": 3})
    assert parsed.unused == ("id", "source")
    assert parsed.used == ("instruction", "output", "input", "group")


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}, {"loss": "false"}, {"sample_weight": 0.0}])
def test_rows_that_are_marked_as_not_learned_are_removed(mark):
    parsed = _parse({**ALPACA, **mark}, {**ALPACA, next(iter(mark)): 1})
    assert [row.raw.number for row in parsed.rows] == [2]
    assert [(row.raw.number, row.reason) for row in parsed.removed] == [(1, Reason.NOT_LEARNED)]


def test_marks_that_cannot_be_honoured_stop():
    with pytest.raises(
        InputError, match=r"row 1: weight must be 0 or 1 .*, got 0\.5.*columns: \{weight: null\}"
    ):
        _parse({**ALPACA, "weight": 0.5})
    assert len(_parse({**ALPACA, "weight": 0.5}, columns={"weight": None}).rows) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, r"are preferences.*\{completion: chosen\}"),
        (
            {"chosen": [{"role": "user", "content": "a"}], "rejected": []},
            r"are preferences.*\{messages: chosen\}",
        ),
        ({**TEXT, "label": False}, "label false marks an answer that is not wanted"),
    ],
)
def test_preferences_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        _parse(fields)


def test_the_chosen_answers_may_be_learned():
    parsed = _parse({"prompt": "a", "chosen": "b", "rejected": "c"}, columns={"completion": "chosen"})
    assert (parsed.rows[0].answer, parsed.unused) == ("b", ("rejected",))


def test_paths_into_nested_columns():
    parsed = _parse(
        {"id": 1, "translation": {"en": "a", "fr": "b"}},
        columns={"prompt": "translation.en", "completion": "translation.fr"},
    )
    assert (parsed.rows[0].turns[0].text, parsed.rows[0].answer, parsed.unused) == ("a", "b", ("id",))
    for path, answer in (("answers.text[0]", "a"), ("answers.text[-1]", "b")):
        parsed = _parse(SQUAD, columns={"instruction": "question", "output": path})
        assert (_turns(parsed)[1], parsed.rows[0].answer) == ((Role.INPUT, "c"), answer)
    literal = _parse({"a.b": "x", "a": {"b": "y"}, "prompt": "p"}, columns={"completion": "a.b"})
    assert literal.rows[0].answer == "x"
    assert _parse({**TEXT, "meta": {"doc": 4}}, group_column="meta.doc").rows[0].group == "4"


@pytest.mark.parametrize(
    ("fields", "columns", "message"),
    [
        (
            {"translation": {"en": "a", "fr": "b"}},
            {},
            r"has translation \(translation.en, translation.fr\); .*\{prompt: translation.en, completion: tr",
        ),
        (
            SQUAD,
            {"prompt": "context", "completion": "answers"},
            r"answers must be text, got dict .*: answers.text\[0\]",
        ),
        (
            SQUAD,
            {"prompt": "context", "completion": "answers.txt"},
            r"must have a column answers.txt, has context, question, answers \(answers.text\[0\]",
        ),
        (
            {**SQUAD, "answers": {"text": []}},
            {"prompt": "context", "completion": "answers.text[0]"},
            r"answers.text\[0\] must be text, got null",
        ),
        ({"talk": [{"role": "user", "content": "a"}]}, {}, r"such as \{messages: talk\}"),
        (SQUAD, {}, r"such as \{instruction: question, output: answers.text\[0\]\}"),
        ({"turns": [{"speaker": "A", "text": "a"}], "id": 1}, {}, r"map names with data\.columns$"),
        ({"text": "a", "label": 3}, {}, r"such as \{prompt: text, completion: label\}"),
    ],
)
def test_messages_name_the_path_that_would_be_read(fields, columns, message):
    with pytest.raises(InputError, match=message):
        _parse(fields, columns=columns)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1.5, "1.5"), (2.0, "2.0"), (True, "true"), (False, "false"), (10**20, "1" + "0" * 20)],
)
def test_numbers_and_booleans_are_their_text(value, text):
    parsed = _parse({"prompt": value, "completion": value})
    assert (parsed.rows[0].turns[0].text, parsed.rows[0].answer) == (text, text)
    assert _parse({**ALPACA, "input": value}).rows[0].turns[1].text == text


def test_nan_is_null():
    assert len(_turns(_parse({**ALPACA, "input": math.nan, "system": math.nan}))) == 1
    assert _parse({**ALPACA, "group": math.nan}).rows[0].group is None
    with pytest.raises(InputError, match="output must be text, got null"):
        _parse({"instruction": "a", "output": math.nan})


@pytest.mark.parametrize(("group", "text"), [(0.0, "0"), (0, "0"), (1.5, "1.5"), (True, "true"), ("x", "x")])
def test_a_group_of_any_scalar_type(group, text):
    assert _parse({**ALPACA, "group": group}).rows[0].group == text


def test_bad_rows_may_be_removed():
    bad = [{"instruction": "a"}, {"instruction": "a", "output": None}, {"instruction": "a", "output": ["x"]}]
    parsed = _parse(bad[0], ALPACA, *bad[1:], bad_rows=BadRows.REMOVE)
    assert [row.raw.number for row in parsed.rows] == [2]
    assert [row.raw.number for row in parsed.removed] == [1, 3, 4]
    assert {row.reason for row in parsed.removed} == {Reason.UNREADABLE}
    assert parsed.removed[1].detail.startswith("output must be text, got null")
    with pytest.raises(InputError, match="row 1"):
        _parse(bad[0], ALPACA)


@pytest.mark.parametrize("column", ["System", "System Prompt", "systemPrompt", "sys_prompt"])
def test_columns_in_another_spelling_stop_with_the_name_to_map(column):
    with pytest.raises(InputError, match=rf"data\.columns: \{{system: {column}\}}, or leave it out"):
        _parse({**ALPACA, column: "s"})
    assert _turns(_parse({**ALPACA, column: "s"}, columns={"system": column}))[0] == (Role.SYSTEM, "s")


@pytest.mark.parametrize("no", [False, "False", "false"])
def test_marks_of_unwanted_answers_in_a_csv(no):
    with pytest.raises(InputError, match="label false marks an answer that is not wanted"):
        _parse({**TEXT, "label": no})
    assert len(_parse({**TEXT, "label": "no"}, {**TEXT, "label": 0}).rows) == 2


def test_mapped_columns_choose_the_format():
    fields = {"instruction": "i", "input": "x", "output": "y", "messages": []}
    parsed = _parse(fields, columns={"prompt": "input", "completion": "output"})
    assert (parsed.found, parsed.rows[0].turns[0].text, parsed.rows[0].answer) == ("completion", "x", "y")
    parsed = _parse({**fields, "question": "q"}, columns={"instruction": "question"})
    assert (parsed.found, _turns(parsed)) == ("alpaca", [(Role.USER, "q"), (Role.INPUT, "x")])
    assert _parse({**TEXT, "sys": "s"}, columns={"system": "sys"}).found == "completion"


def test_a_bad_row_does_not_tell_the_format():
    talk = {"prompt": [{"role": "user", "content": "a"}], "completion": "b"}
    parsed = _parse({"prompt": None, "completion": "b"}, {"x": 1}, talk, talk, bad_rows=BadRows.REMOVE)
    assert [row.raw.number for row in parsed.rows] == [3, 4]
    assert not parsed.as_written


@pytest.mark.parametrize("path", ["sytem", "meta.sytem"])
def test_a_mapped_column_that_no_row_has_stops_the_study(prepare, write_jsonl, alpaca_rows, path):
    rows = [{**row, "system_text": "s", "meta": {"system": "s"}} for row in alpaca_rows(30)]
    with pytest.raises(
        InputError, match=rf"data\.columns: system must name a column .* no row .* has {path};"
    ):
        prepare(write_jsonl(rows), columns={"system": path})
    assert prepare(write_jsonl([*rows, {**rows[0], path: "s"}]), columns={"system": path}).data.train
