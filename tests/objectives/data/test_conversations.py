import json

import pytest

from loratory.objectives.data.formats import parse_rows
from loratory.objectives.data.rows import RawRow, Reason, Role
from loratory.spaces.data import BadRows, DataSpec
from loratory.spaces.errors import InputError

CALL = {"name": "weather", "arguments": {"city": "Oslo"}}
CALLS = '[{"name": "weather", "arguments": {"city": "Oslo"}}]'
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"city": "string"}}}]


def _parse(fields, **data):
    return parse_rows([RawRow(file="a.jsonl", number=7, fields=fields)], DataSpec(train="x", **data))


def _row(fields, **data):
    return _parse(fields, **data).rows[0]


def _turns(row):
    return [(turn.role, turn.text, turn.calls) for turn in row.turns]


def test_calls_and_results_of_openai_are_turns_of_the_prompt():
    function = {"name": "weather", "arguments": json.dumps(CALL["arguments"])}
    row = _row(
        {
            "messages": [
                {"role": "user", "content": "Oslo?"},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]},
                {"role": "tool", "content": {"t": 3}, "tool_call_id": "1"},
                {"role": "assistant", "content": "Three."},
            ],
            "tools": TOOLS,
        }
    )
    assert _turns(row) == [
        (Role.USER, "Oslo?", ""),
        (Role.ASSISTANT, "", CALLS),
        (Role.TOOL, '{"t": 3}', ""),
    ]
    assert (row.answer, row.answer_calls, json.loads(row.tools)) == ("Three.", "", TOOLS)


@pytest.mark.parametrize(
    "turn",
    [
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "tool_call", "value": json.dumps([CALL])},
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": CALL}]},
        {"role": "assistant", "tool_calls": json.dumps([CALL])},
        {"role": "assistant", "content": "", "function_call": CALL},
    ],
)
def test_a_row_that_ends_in_a_call_has_it_as_its_answer(turn):
    row = _row({"conversations": [{"from": "human", "value": "Oslo?"}, turn]})
    assert (row.answer, row.answer_calls, row.answer_text) == (CALLS, CALLS, "")


def test_an_answer_of_text_and_calls_keeps_both():
    turn = {"role": "assistant", "content": "I look.", "tool_calls": [{"function": CALL}]}
    row = _row({"messages": [{"role": "user", "content": "Oslo?"}, turn]})
    assert (row.answer, row.answer_calls, row.answer_text) == (f"I look.\n{CALLS}", CALLS, "I look.")


def test_calls_and_tools_are_part_of_the_content():
    talk = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    plain = _row({"conversations": talk})
    assert plain.content_id == _row({"conversations": talk, "tools": "[]"}).content_id
    assert plain.content_id != _row({"conversations": talk, "tools": json.dumps(TOOLS)}).content_id


@pytest.mark.parametrize("value", [TOOLS, json.dumps(TOOLS), [json.dumps(TOOLS[0])], TOOLS[0]])
def test_tools_as_lists_or_as_json_text(value):
    row = _row(
        {
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "tools": value,
        }
    )
    assert json.loads(row.tools) == TOOLS


def test_functions_get_the_form_of_tools():
    row = _row({"instruction": "a", "output": "b", "functions": [TOOLS[0]["function"]]})
    assert json.loads(row.tools) == TOOLS


@pytest.mark.parametrize("column", ["system", "system_prompt", "system_message"])
def test_a_system_column_is_the_first_turn(column):
    talk = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    row = _row({"conversations": talk, column: "Be a pirate."})
    assert _turns(row)[0] == (Role.SYSTEM, "Be a pirate.", "")
    same = _row(
        {"conversations": [{"from": "system", "value": "Be a pirate."}, *talk], column: "Be a pirate."}
    )
    assert same.turns == row.turns
    with pytest.raises(InputError, match="must have one system text, has a column and a turn that differ"):
        _row({"conversations": [{"from": "system", "value": "Be kind."}, *talk], column: "Be a pirate."})


def test_trl_prompt_and_completion_are_conversations():
    parsed = _parse(
        {
            "prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "completion": [{"role": "assistant", "content": "c"}],
            "tools": TOOLS,
        }
    )
    (row,) = parsed.rows
    assert _turns(row) == [(Role.USER, "a", ""), (Role.ASSISTANT, "b", "")]
    assert [turn.learn for turn in row.turns] == [None, False]
    assert (row.answer, bool(row.tools), parsed.as_written) == ("c", True, False)


def test_a_list_as_prompt_with_text_as_completion():
    row = _row({"prompt": [{"role": "user", "content": "a"}], "completion": " b "})
    assert (_turns(row), row.answer) == ([(Role.USER, "a", "")], "b")


def test_text_as_prompt_and_completion_stays_as_it_is_written():
    assert _parse({"prompt": "a", "completion": "b"}).as_written


def _marked(*marks, key="weight"):
    talk = []
    for number, mark in enumerate(marks):
        talk.append({"role": "user", "content": f"q{number}"})
        talk.append({"role": "assistant", "content": f"a{number}", **({} if mark is None else {key: mark})})
    return {"messages": talk}


@pytest.mark.parametrize(("no", "key"), [(0, "weight"), (False, "train"), ("0", "loss"), (0.0, "weight")])
def test_the_answer_is_the_last_that_marks_let_be_learned(no, key):
    row = _row(_marked(None, no, key=key))
    assert (row.answer, [turn.text for turn in row.turns]) == ("a0", ["q0"])
    row = _row(_marked(no, None, key=key))
    assert (row.answer, [turn.learn for turn in row.turns]) == ("a1", [None, False, None])


def test_rows_without_a_learned_answer_are_removed():
    parsed = _parse(_marked(0, 0))
    assert not parsed.rows and parsed.removed[0].reason is Reason.NOT_LEARNED


def test_an_earlier_answer_that_is_marked_as_learned_needs_learn_all():
    with pytest.raises(
        InputError, match=r"row 7: an earlier answer is marked as learned.*set data\.learn: all"
    ):
        _row(_marked(1, 1))
    assert [turn.learn for turn in _row(_marked(1, 1), learn="all").turns] == [None, True, None]
    assert _row(_marked(1, 1), columns={"weight": None}).answer == "a1"


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        (
            {"role": "assistant", "content": "b", "weight": 0.5},
            r"messages\[0\].weight must be 0 or 1 .*got 0.5",
        ),
        ({"role": "user", "content": "b", "train": True}, "only turns of the assistant are"),
        (
            {"role": "assistant", "content": "b", "reasoning_content": "hm"},
            "reasoning_content changes what is learned",
        ),
        ({"role": "system", "content": "b", "tools": TOOLS}, "tools changes what is learned"),
    ],
)
def test_what_cannot_be_honoured_stops_also_where_bad_rows_are_removed(turn, message):
    with pytest.raises(InputError, match=f"row 7: .*{message}|{message}"):
        _row({"messages": [turn]}, bad_rows=BadRows.REMOVE)


def test_unused_keys_of_turns_are_named():
    talk = [
        {"role": "user", "content": "a", "name": "Ann"},
        {"role": "assistant", "content": "b", "reasoning": None},
    ]
    assert _parse({"messages": talk, "id": 3}).unused == ("id", "messages[].name")


def test_messages_as_json_text():
    talk = json.dumps([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    assert _row({"messages": talk}).answer == "b"


def _results(*turns, key="tool_calls"):
    calls = [{"id": "x", "function": {"name": "f"}}, {"id": "y", "function": {"name": "g"}}]
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", key: calls}]
    row = _row({"messages": [*talk, *({"role": "tool", **t} for t in turns), ANSWER]})
    return [(turn.text, turn.answers) for turn in row.turns if turn.role is Role.TOOL]


ANSWER = {"role": "assistant", "content": "b"}


def test_results_belong_to_the_calls_that_they_name():
    for key, (first, second) in (("tool_call_id", "xy"), ("name", "fg")):
        one, two = {"content": "1", key: first}, {"content": "2", key: second}
        assert _results(one, two) == [("1", None), ("2", None)], "the order of the calls needs no mention"
        assert _results(two, one) == [("2", 1), ("1", 0)]
        assert _results(two) == [("2", 1)]
    assert _results({"content": "1", "tool_call_id": "z"}) == [("1", None)]


@pytest.mark.parametrize("key", ["arguments", "parameters", "input", "args"])
def test_arguments_by_their_names_in_other_tools(key):
    turn = {
        "role": "assistant",
        "tool_calls": [{"type": "tool_use", "name": "weather", key: {"city": "Oslo"}}],
    }
    assert _row({"messages": [{"role": "user", "content": "a"}, turn]}).answer == CALLS


def test_arguments_that_are_not_found_are_no_empty_ones():
    turn = {"role": "assistant", "tool_calls": [{"name": "weather", "values": {"city": "Oslo"}}]}
    with pytest.raises(
        InputError, match="must have the arguments of a call as `arguments`, has name, values"
    ):
        _row({"messages": [turn]})


@pytest.mark.parametrize("part", [{"type": "tool_use", "name": "f"}, {"type": "reasoning", "text": "hm"}])
def test_parts_of_other_types_are_named(part):
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [part]}]
    with pytest.raises(InputError, match=f"must be text, got a part of type {part['type']}"):
        _row({"messages": talk})


@pytest.mark.parametrize("key", ["toolCalls", "tool_call", "functionCall"])
def test_calls_under_another_name_stop_the_study(key):
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", key: [CALL]}]
    with pytest.raises(InputError, match=f"{key} changes what is learned and is not read"):
        _row({"messages": talk})


TURNS = [{"role": "user", "content": "it's"}, {"role": "assistant", "content": "b"}]


def test_turns_as_python_writes_them():
    assert _row({"messages": str(TURNS)}).answer == "b"
    row = _row({"prompt": str(TURNS[:1]), "completion": str(TURNS[1:])})
    assert (_turns(row), row.answer) == ([(Role.USER, "it's", "")], "b")


@pytest.mark.parametrize("text", [str(TURNS).replace("}, {", "}\n {"), f"array({TURNS}, dtype=object)"])
def test_turns_that_cannot_be_read_are_not_learned_as_text(text):
    with pytest.raises(InputError, match=r"prompt must be a list of turns, got str .*; write it as JSON"):
        _row({"prompt": text, "completion": "b"})


@pytest.mark.parametrize(
    "answer", ['{"role": "CEO", "name": "Ann"}', '{"from": "Oslo", "to": "Rome"}', '[{"role": "CEO"}]', "[1]"]
)
def test_an_answer_in_json_is_a_text(answer):
    parsed = _parse({"prompt": "a", "completion": answer})
    assert (parsed.as_written, parsed.rows[0].answer) == (True, answer)
    chat = _row({"prompt": TURNS[:1], "completion": answer})
    assert chat.answer == answer
