import json

import pytest

from loratory.objectives.data.chat_template import ChatTemplate
from loratory.objectives.data.rendered import LeftOutError, Rendered, RenderError, RenderingRules
from loratory.objectives.data.rows import RawRow, Role, Row, Turn
from loratory.spaces.data import Thoughts

USER, SYSTEM, ASSISTANT, TOOL = Role.USER, Role.SYSTEM, Role.ASSISTANT, Role.TOOL
WEATHER = json.dumps([{"name": "weather", "arguments": {"city": "Oslo"}}])
TWO_CALLS = json.dumps([{"name": n, "arguments": {"city": "Oslo"}} for n in ("weather", "tides")])
TOOLS = json.dumps([{"type": "function", "function": {"name": "weather", "parameters": {}}}])


def row(*turns, answer="yes", calls="", tools=""):
    raw = RawRow(file="a.jsonl", number=1, fields={})
    return Row(
        raw=raw,
        turns=tuple(turn if isinstance(turn, Turn) else Turn(*turn) for turn in turns),
        answer="\n".join(filter(None, (answer, calls))),
        answer_calls=calls,
        tools=tools,
        group=None,
    )


@pytest.fixture
def render(make_tokenizer, templates):
    """Render a row with a template: its text and the notes."""

    def run(name, given, **rules):
        renderer = ChatTemplate(make_tokenizer(templates[name]), RenderingRules(**rules))
        return renderer.render(given), renderer.notes()

    return run


@pytest.mark.parametrize(
    ("turns", "prompt", "change"),
    [
        ([(SYSTEM, "s"), (USER, "u")], "<user>s\n\nu<|im_end|>\n", "system text joined to the user turn"),
        ([(USER, "u"), (SYSTEM, "s")], "<user>u\n\ns<|im_end|>\n", "system text joined to the user turn"),
        ([(ASSISTANT, "hi"), (USER, "u")], "<user>u<|im_end|>\n", "leading assistant turns dropped"),
        ([(USER, "u"), (USER, "v")], "<user>u\n\nv<|im_end|>\n", "turns of one role joined"),
        (
            [(USER, "u"), (ASSISTANT, "a"), (SYSTEM, "s"), (USER, "v")],
            "<user>u<|im_end|>\n<model>a<|im_end|>\n<user>s\n\nv<|im_end|>\n",
            "system text joined to the user turn",
        ),
    ],
)
def test_turns_that_a_strict_template_refuses_are_joined_or_dropped(render, turns, prompt, change):
    rendered, (note,) = render("STRICT", row(*turns))
    assert rendered == Rendered(f"<s>{prompt}<model>", "yes")
    assert change in note
    assert "in 1 rows" in note
    with pytest.raises(RenderError, match=r"System role not supported|must alternate"):
        render("STRICT", row(*turns), adapt_turns=False)


def test_an_assistant_turn_before_the_answer_becomes_part_of_it(render):
    rendered, notes = render("STRICT", row((USER, "u"), (ASSISTANT, "a"), answer="b"))
    assert rendered == Rendered("<s><user>u<|im_end|>\n<model>", "a\n\nb")
    assert "turns of one role joined" in notes[0]


def test_all_changes_together_and_only_where_they_are_needed(render):
    turns = [(SYSTEM, "s"), (ASSISTANT, "hi"), (USER, "u"), (USER, "v")]
    rendered, (note,) = render("STRICT", row(*turns))
    assert rendered.prompt == "<s><user>s\n\nu\n\nv<|im_end|>\n<model>"
    assert all(part in note for part in ("system text", "leading", "one role"))
    plain, none = render("CHATML", row(*turns))
    assert plain.prompt.count("<|im_start|>") == 5
    assert none == ()


def test_a_system_turn_that_a_template_drops_in_silence_is_joined_too(render):
    turns = [(SYSTEM, "Be brief."), (USER, "u")]
    rendered, notes = render("NO_SYSTEM_IN_SILENCE", row(*turns))
    assert rendered.prompt == "<user>Be brief.\n\nu<|im_end|><assistant>"
    assert "system text joined" in notes[0]
    with pytest.raises(RenderError, match="leaves out the system turn"):
        render("NO_SYSTEM_IN_SILENCE", row(*turns), adapt_turns=False)


THOUGHT = "<think>\nlet me see\n</think>\n\nyes"


def test_a_thought_that_the_template_cuts_names_the_setting(make_tokenizer, templates):
    renderer = ChatTemplate(make_tokenizer(templates["CUTS_THOUGHTS"]))
    with pytest.raises(RenderError, match=r"data\.thoughts: keep learns the answer as the file has it, cut"):
        renderer.render(row((USER, "u"), answer=THOUGHT))
    assert "the thoughts of 1 answers" in renderer.notes()[0]


@pytest.mark.parametrize(
    ("template", "thoughts", "answer", "expected"),
    [
        # The generation prompt opens the thought: at use, too, the model goes on from there.
        (
            "CUTS_THOUGHTS",
            Thoughts.KEEP,
            THOUGHT,
            ("<user>u<assistant><think>\n", "let me see\n</think>\n\nyes"),
        ),
        ("CUTS_THOUGHTS", Thoughts.KEEP, "yes", ("<user>u<assistant>", "yes")),
        ("CUTS_THOUGHTS", Thoughts.CUT, THOUGHT, ("<user>u<assistant>", "yes")),
        (
            "WRITES_THOUGHTS",
            Thoughts.KEEP,
            "<think>a</think>b",
            ("<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n", "<think>a</think>b"),
        ),
        (
            "WRITES_THOUGHTS",
            Thoughts.TEMPLATE,
            THOUGHT,
            ("<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n", THOUGHT),
        ),
        ("CHATML", Thoughts.CUT, THOUGHT, ("<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n", "yes")),
    ],
)
def test_thoughts_are_kept_or_cut(render, template, thoughts, answer, expected):
    rendered, notes = render(template, row((USER, "u"), answer=answer), thoughts=thoughts)
    assert (rendered.prompt, rendered.answer) == expected
    assert notes == ()


def test_tools_and_calls_go_through_the_template(render):
    turns = [(USER, "Oslo?"), Turn(ASSISTANT, "", calls=WEATHER), (TOOL, '{"t": 3}')]
    rendered, notes = render("TOOLS", row(*turns, answer="Cold.", tools=TOOLS))
    assert rendered.prompt == (
        "<|im_start|>system\n"
        '{"type": "function", "function": {"name": "weather", "parameters": {}}}\n<|im_end|>\n'
        "<|im_start|>user\nOslo?<|im_end|>\n"
        '<|im_start|>assistant\n\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n'
        '</tool_call><|im_end|>\n<|im_start|>tool\n{"t": 3}<|im_end|>\n<|im_start|>assistant\n'
    )
    assert rendered.answer == "Cold."
    assert notes == ()


def test_a_row_that_ends_in_a_call_has_the_call_as_its_answer(render):
    rendered, _ = render("TOOLS", row((USER, "Oslo?"), answer="Let me see.", calls=WEATHER))
    assert rendered.prompt.endswith("<|im_start|>assistant\n")
    assert rendered.answer == (
        'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    )
    assert rendered.closing is None


def test_a_call_that_ends_in_a_token_of_its_own(render):
    rendered, _ = render("ONE_CALL", row((USER, "Oslo?"), answer="", calls=WEATHER, tools=TOOLS))
    assert rendered.answer == '{"name": "weather", "arguments": {"city": "Oslo"}}'
    assert rendered.closing == "<|im_end|>"


def test_results_that_a_template_writes_as_json_are_still_there(render):
    turns = [(USER, "Oslo?"), Turn(ASSISTANT, "", calls=WEATHER), (TOOL, '{"sky":\n"grey"}')]
    rendered, _ = render("ONE_CALL", row(*turns))
    assert '<ipython>"{\\"sky\\":\\n\\"grey\\"}"</s>' in rendered.prompt


def test_each_result_names_its_call(render):
    turns = [(USER, "Oslo?"), Turn(ASSISTANT, "", calls=TWO_CALLS), (TOOL, "3"), (TOOL, "high")]
    rendered, _ = render("CALL_IDS", row(*turns, answer="", calls=WEATHER))
    assert "[weather call00000]3</s>[tides call00001]high</s>" in rendered.prompt
    assert rendered.answer.startswith("(call00002 {")


@pytest.mark.parametrize(
    ("template", "given", "message"),
    [
        ("CHATML", row((USER, "u"), tools=TOOLS), r"leaves out the tools \(weather, ...\): give a base"),
        ("CHATML", row((USER, "u"), answer="", calls=WEATHER), "no place for tool calls"),
        ("CHATML", row((USER, "u"), answer="", calls=WEATHER, tools=TOOLS), "no place for tool calls"),
        (
            "CHATML",
            row((USER, "u"), Turn(ASSISTANT, "", calls=WEATHER), (TOOL, "3")),
            "no place for tool calls",
        ),
        ("STRICT", row((USER, "u"), Turn(ASSISTANT, "a"), (TOOL, "3")), "no place for tool calls"),
        ("CHATML", row((USER, "u"), Turn(ASSISTANT, "a", learn=True)), r"set data\.learn: all"),
    ],
)
def test_what_would_be_left_out_stops_the_study(render, template, given, message):
    with pytest.raises(LeftOutError, match=message):
        render(template, given)


def test_a_row_alone_that_a_template_with_calls_refuses_is_removed(render):
    with pytest.raises(RenderError, match="only supports single tool-calls") as refused:
        render("ONE_CALL", row((USER, "u"), answer="", calls=TWO_CALLS))
    assert not isinstance(refused.value, LeftOutError)


@pytest.mark.parametrize(
    ("template", "given"),
    [
        ("CHATML", row((USER, "weather in Oslo?"), tools=TOOLS)),
        ("CHATML", row((USER, "weather of the city Oslo?"), Turn(ASSISTANT, "", calls=WEATHER), (TOOL, "3"))),
    ],
)
def test_tools_and_calls_are_missed_where_a_turn_has_their_words(render, template, given):
    with pytest.raises(LeftOutError, match=r"leaves out the tools|no place for tool calls"):
        render(template, given)


def test_a_system_turn_is_missed_where_another_turn_has_its_words(render):
    rendered, _ = render("NO_SYSTEM_IN_SILENCE", row((SYSTEM, "Answer"), (USER, "Answer me.")))
    assert rendered.prompt == "<user>Answer\n\nAnswer me.<|im_end|><assistant>"


def test_a_turn_that_must_not_be_learned_never_joins_the_answer(render):
    turns = [(USER, "u"), Turn(ASSISTANT, "a", learn=False)]
    with pytest.raises(RenderError, match="must alternate"):
        render("STRICT", row(*turns, answer="b"))


def test_results_in_another_order_name_their_calls(render):
    results = [Turn(TOOL, "high", answers=1), Turn(TOOL, "3", answers=0)]
    rendered, _ = render("CALL_IDS", row((USER, "Oslo?"), Turn(ASSISTANT, "", calls=TWO_CALLS), *results))
    assert "[tides call00001]high</s>[weather call00000]3</s>" in rendered.prompt
