import json
from dataclasses import replace

import pytest

from loratory.objectives.data.encoding import Encoder
from loratory.objectives.data.rendered import RenderError, RenderingRules
from loratory.objectives.data.rendering import choose_renderer
from loratory.objectives.data.rows import Ledger, Part, RawRow, Role, Row, Turn
from loratory.spaces.data import Learn, Thoughts

USER, SYSTEM, ASSISTANT, TOOL = Role.USER, Role.SYSTEM, Role.ASSISTANT, Role.TOOL
CALLS = json.dumps([{"name": "weather", "arguments": {"city": "Oslo"}}])


def row(*turns, answer="yes"):
    raw = RawRow(file="a.jsonl", number=1, fields={})
    made = tuple(turn if isinstance(turn, Turn) else Turn(*turn) for turn in turns)
    return Row(raw=raw, turns=made, answer=answer, group=None)


@pytest.fixture
def learned(make_tokenizer, templates):
    """The learned parts of a row's prompt, as text and as what the learned tokens read."""

    def run(name, given, *, eos="</s>", **rules):
        tokenizer = make_tokenizer(templates.get(name), eos=eos, adds_bos=name is None)
        renderer = choose_renderer(tokenizer, None, RenderingRules(learn=Learn.ALL, **rules))
        rendered = renderer.render(given)
        (example,) = Encoder(tokenizer, renderer).encode([given], Part.TRAIN, ledger := Ledger())
        assert ledger.entries == []
        spans = [rendered.prompt[start:end] for start, end in rendered.learned]
        if not spans:
            assert example.learned is None
            return spans
        mask, ids = example.learned, (*example.prompt_ids, *example.answer_ids)
        assert len(mask) == len(ids)
        assert all(mask[len(example.prompt_ids) :])
        tokens = [token for token, on in zip(example.prompt_ids, mask, strict=False) if on]
        assert tokenizer.decode(tokens) == "".join(spans)
        return spans

    return run


TURNS = [(SYSTEM, "s"), (USER, "a"), (ASSISTANT, "a"), (USER, "user"), (ASSISTANT, "no, s"), (USER, "b")]


@pytest.mark.parametrize(
    ("name", "eos", "expected"),
    [
        ("CHATML", "<|im_end|>", ["a<|im_end|>", "no, s<|im_end|>"]),
        ("CHATML", "</s>", ["a<|im_end|>", "no, s<|im_end|>"]),
        ("STRICT", "</s>", ["a<|im_end|>", "no, s<|im_end|>"]),
        ("WRITES_THOUGHTS", "<|im_end|>", ["a<|im_end|>", "no, s<|im_end|>"]),
        (None, "</s>", ["a", "no, s"]),
    ],
)
def test_every_assistant_turn_and_what_ends_it(learned, name, eos, expected):
    assert learned(name, row(*TURNS), eos=eos) == expected


def test_marks_of_turns_are_honoured(learned):
    turns = [
        (USER, "u"),
        Turn(ASSISTANT, "one", learn=False),
        (USER, "v"),
        Turn(ASSISTANT, "two", learn=True),
    ]
    assert learned("CHATML", row(*turns, (USER, "w"))) == ["two<|im_end|>"]
    assert learned("CHATML", row(*turns[:2], (USER, "w"))) == []
    assert learned("CHATML", row((USER, "w"))) == []


@pytest.mark.parametrize("name", ["TOOLS", None])
def test_calls_are_learned_and_results_are_not(learned, name):
    turns = [(USER, "u"), Turn(ASSISTANT, "", calls=CALLS), (TOOL, "3"), (ASSISTANT, "Cold."), (USER, "v")]
    call, answer = learned(name, row(*turns), eos="<|im_end|>")
    assert '"city": "Oslo"' in call
    assert "3" not in call
    assert answer.removesuffix("<|im_end|>") == "Cold."


def test_a_thought_that_the_template_cuts_from_an_earlier_turn(learned):
    turns = [(USER, "u"), (ASSISTANT, "<think>a</think>one"), (USER, "v")]
    assert learned("CUTS_THOUGHTS", row(*turns)) == ["one</s>"]
    # Kept as the file has it, or not learned: the text alone would teach to answer without a thought.
    assert learned("CUTS_THOUGHTS", row(*turns), thoughts=Thoughts.KEEP) == []
    kept = row(*turns, answer="<think>b</think>two")
    assert learned("CUTS_THOUGHTS", kept, thoughts=Thoughts.KEEP) == []
    assert learned("CUTS_THOUGHTS", row(*turns), thoughts=Thoughts.CUT) == ["one</s>"]


def test_turns_that_cannot_be_found_are_not_guessed(make_tokenizer):
    upper = (
        "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and not loop.last %}"
        "{{ m.content | upper }}{% else %}{{ m.content }}{% endif %}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    renderer = choose_renderer(make_tokenizer(upper), None, RenderingRules(learn=Learn.ALL))
    with pytest.raises(RenderError, match=r"data\.learn all|rewrites a turn"):
        renderer.render(row((USER, "u"), (ASSISTANT, "one"), (USER, "v")))


def test_prepared_examples_have_masks_and_scored_answers_stay_the_last(prepare, write_jsonl, chat_tokenizer):
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"first question {n}"},
                {"role": "assistant", "content": f"first answer {n}"},
                {"role": "user", "content": f"second question {n * n}"},
                {"role": "assistant", "content": f"second answer {n} of the {n % 7} days"},
            ]
        }
        for n in range(40)
    ]
    path = write_jsonl(rows)
    one, every = (prepare(path, using=chat_tokenizer, learn=learn).data for learn in ("last", "all"))
    assert one.train[0].learned is None
    assert one.sha256 != every.sha256
    assert [replace(example, learned=None) for example in every.train] == list(one.train)
    example = every.train[0]
    learned = [
        t for t, on in zip((*example.prompt_ids, *example.answer_ids), example.learned, strict=True) if on
    ]
    first, second = chat_tokenizer.decode(learned).split("<|im_end|>")[:2]
    assert first.startswith("first answer")
    assert second == example.reference
