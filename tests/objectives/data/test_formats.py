import pytest

from loratory.objectives.data.formats import parse_rows
from loratory.objectives.data.rows import RawRow, Role
from loratory.spaces.data import DataFormat, DataSpec
from loratory.spaces.errors import InputError

TALK = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "2+2?"), ("assistant", "4")]


def _parse(fields, **data):
    spec = DataSpec(train="x", **data)
    parsed = parse_rows([RawRow(file="a.jsonl", number=7, fields=fields)], spec)
    return parsed.rows[0], parsed.found


def _turns(row):
    return [(turn.role, turn.text) for turn in row.turns]


def test_alpaca():
    row, found = _parse({"instruction": " Add. ", "input": "1 2\n", "output": " 3\n"})
    assert found is DataFormat.ALPACA
    assert _turns(row) == [(Role.USER, "Add."), (Role.INPUT, "1 2")]
    assert (row.answer, row.group) == ("3", None)


@pytest.mark.parametrize("fields", [{}, {"input": ""}, {"input": None}])
def test_alpaca_needs_no_input(fields):
    row, _ = _parse({"instruction": "Add.", "output": "3", **fields})
    assert _turns(row) == [(Role.USER, "Add.")]


def test_messages_and_sharegpt_are_one_conversation():
    openai, first = _parse({"messages": [{"role": role, "content": text} for role, text in TALK]})
    names = {"user": "human", "assistant": "gpt"}
    sharegpt, second = _parse(
        {"conversations": [{"from": names.get(role, role), "value": text} for role, text in TALK]}
    )
    assert (first, second) == (DataFormat.MESSAGES, DataFormat.SHAREGPT)
    assert openai.turns == sharegpt.turns
    assert _turns(openai) == [(role, text) for role, text in TALK[:4]]
    assert openai.answer == sharegpt.answer == "4"
    assert openai.content_id == sharegpt.content_id


def test_turns_after_the_last_answer_are_no_part_of_the_prompt():
    talk = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    row, _ = _parse({"messages": talk})
    assert (_turns(row), row.answer) == ([(Role.USER, "a")], "b")


def test_a_conversation_without_an_answer_has_an_empty_one():
    row, _ = _parse({"messages": [{"role": "user", "content": "a"}]})
    assert row.answer == ""


def test_content_as_a_list_of_text_parts():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    row, _ = _parse({"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "c"}]})
    assert _turns(row) == [(Role.USER, "ab")]


def test_completion_keeps_the_space_that_opens_an_answer():
    row, found = _parse({"prompt": "Paris is in ", "completion": " France \n"})
    assert found is DataFormat.COMPLETION
    assert (_turns(row), row.answer) == ([(Role.PROMPT, "Paris is in ")], " France")


def test_columns_are_renamed():
    row, found = _parse(
        {"question": "q", "answer": "a", "doc": 3},
        columns={"instruction": "question", "output": "answer"},
        group_column="doc",
    )
    assert found is DataFormat.ALPACA
    assert (_turns(row), row.answer, row.group) == ([(Role.USER, "q")], "a", "3")


def test_a_named_format_wins_over_detection():
    fields = {"messages": [], "prompt": "p", "completion": "c"}
    assert _parse(fields)[1] is DataFormat.MESSAGES
    assert _parse(fields, format="completion")[0].answer == "c"


def test_prompt_template_over_the_columns():
    row, _ = _parse(
        {"instruction": "Add", "context": "1, 2", "note": None, "output": "3"},
        prompt_template="{{{context}}} {instruction}{note}:",
    )
    assert _turns(row) == [(Role.PROMPT, "{1, 2} Add:")]


def test_a_prompt_template_needs_no_column_of_prompts():
    columns = {"completion": "text"}
    fields = {"item": "nut", "size": "3,5", "text": "A nut."}
    row, found = _parse(fields, prompt_template="{size} of {item}:", columns=columns)
    assert found is DataFormat.COMPLETION
    assert (_turns(row), row.answer) == ([(Role.PROMPT, "3,5 of nut:")], "A nut.")
    with pytest.raises(InputError, match=r"with data.columns, such as \{completion: size\}$"):
        _parse({"item": "nut", "size": "3,5"}, prompt_template="{item}")


@pytest.mark.parametrize(
    ("fields", "data", "message"),
    [
        (
            {"q": "a"},
            {},
            r"a.jsonl, row 7: must have the columns of a format \(.*\), has q; map names with data.columns",
        ),
        ({"instruction": "a"}, {"format": "alpaca"}, "row 7: must have a column output, has instruction"),
        ({"instruction": None, "output": "b"}, {}, "row 7: instruction must be text, got null"),
        ({"instruction": "a", "output": None}, {}, "row 7: output must be text, got null"),
        ({"instruction": "a", "output": [3]}, {}, r"row 7: output must be text, got list \[3\]"),
        (
            {"q": "a", "output": [3]},
            {"columns": {"instruction": "q"}},
            "row 7: output must be text, got list",
        ),
        ({"prompt": "a", "completion": ["b"]}, {}, r"completion must be text, got list \['b'\]"),
        ({"messages": "hi"}, {}, "messages must be a list of turns, got str 'hi'"),
        ({"messages": ["hi"]}, {}, r"messages\[0\] must be an object, got str"),
        (
            {"messages": [{"role": "user", "content": None}]},
            {},
            r"messages\[0\].content must be text, got null",
        ),
        (
            {"messages": [{"role": "cat", "content": "x"}]},
            {},
            r"messages\[0\].role must be one of .*, got 'cat'",
        ),
        ({"messages": [{"role": "user", "content": [{"image": "x"}]}]}, {}, r"\(text only\) must be text"),
        (
            {"prompt": "a", "completion": "b"},
            {"columns": {"ouput": "b"}},
            "expects a column ouput: did you mean output",
        ),
        (
            {"prompt": "a", "completion": "b"},
            {"group_column": "doc"},
            "must have the column doc that data.group_column",
        ),
        (
            {"prompt": "a", "completion": "b", "group": [1]},
            {},
            r"group must be text or a number, got list \[1\]",
        ),
        (
            {"prompt": "a", "completion": "b"},
            {"prompt_template": "{x}"},
            "has no column x; it has prompt, completion",
        ),
        ({"prompt": "a", "completion": "b"}, {"prompt_template": "{completion}"}, "must not hold the answer"),
        (
            {"prompt": "a", "completion": "b"},
            {"prompt_template": "{prompt"},
            "must be a Python format string",
        ),
        (
            {"prompt": "a", "completion": "b"},
            {"prompt_template": "{prompt.x}"},
            "must be the name of a column",
        ),
    ],
)
def test_bad_rows_name_file_row_and_rule(fields, data, message):
    with pytest.raises(InputError, match=message):
        _parse(fields, **data)


def test_every_row_is_checked_not_only_the_first():
    rows = [RawRow(file="a.jsonl", number=n, fields={"prompt": "a", "completion": "b"}) for n in (1, 2)]
    rows.append(RawRow(file="a.jsonl", number=3, fields={"prompt": "a"}))
    with pytest.raises(InputError, match="row 3: must have a column completion, has prompt"):
        parse_rows(rows, DataSpec(train="x"))


@pytest.mark.parametrize("value", [None, ""])
def test_a_row_may_have_no_group(value):
    assert _parse({"prompt": "a", "completion": "b", "group": value})[0].group is None
