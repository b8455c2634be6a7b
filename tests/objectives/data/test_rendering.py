import pytest

from loratory.objectives.data.rendering import (
    ChatTemplate,
    Rendered,
    RenderError,
    RenderingRules,
    choose_renderer,
)
from loratory.objectives.data.rows import RawRow, Role, Row, Turn
from loratory.spaces.errors import InputError

USER, SYSTEM, ASSISTANT, INPUT, PROMPT = Role.USER, Role.SYSTEM, Role.ASSISTANT, Role.INPUT, Role.PROMPT

# The shapes that well-known templates have, written out small.
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}"
    "{% else %}{{ raise_exception('no role ' + m.role) }}{% endif %}{% endfor %}"
)
EMPTY_THOUGHT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}"
    "<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPEN_THOUGHT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}User: {{ m.content }} {% else %}"
    "Assistant: {{ m.content.split('</think>')[-1] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant: <think>\n{% endif %}"
)
EOS_WITHOUT_GENERATION_PROMPT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% else %}{{ eos_token }}{% endif %}"
)
FORGETS_SYSTEM_LATER = (
    "{% for m in messages %}{% if not (m.role == 'system' and messages[-1].role == 'assistant') %}"
    "<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def _row(*turns, answer="yes"):
    raw = RawRow(file="a.jsonl", number=1, fields={})
    return Row(raw=raw, turns=tuple(Turn(role, text) for role, text in turns), answer=answer, group=None)


def test_sections_without_a_chat_template(tokenizer):
    renderer = choose_renderer(tokenizer, None)
    assert renderer.render(_row((USER, "Add."), (INPUT, "1 2"), answer="3")) == Rendered(
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n", "3"
    )
    assert renderer.render(_row((SYSTEM, "s"), (USER, "u"), (ASSISTANT, "a"), (USER, "v"))).prompt == (
        "### System:\ns\n\n### Instruction:\nu\n\n### Response:\na\n\n### Instruction:\nv\n\n### Response:\n"
    )
    assert renderer.render(_row((PROMPT, "as it is: "), answer=" so")) == Rendered("as it is: ", " so")


def test_the_chat_template_is_followed(chat_tokenizer):
    renderer = choose_renderer(chat_tokenizer, None)
    rendered = renderer.render(_row((SYSTEM, "s"), (USER, "u"), (INPUT, "i"), (ASSISTANT, "a"), (USER, "v")))
    assert rendered == Rendered(
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu\n\ni<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
        "<|im_start|>user\nv<|im_end|>\n<|im_start|>assistant\n",
        "yes",
    )
    assert renderer.closing == ""  # this tokenizer's end-of-sequence is <|im_end|>
    assert not renderer.adds_special_tokens


def test_the_studys_template_wins_over_the_tokenizers(chat_tokenizer):
    renderer = choose_renderer(chat_tokenizer, "{q}:")
    assert renderer.render(_row((PROMPT, "why:"))) == Rendered("why:", "yes")
    assert "data.prompt_template" in renderer.description


@pytest.mark.parametrize(
    ("template", "prompt", "answer", "closing"),
    [
        (MISTRAL, "<s>[INST] u [/INST]", " yes", ""),
        (
            EMPTY_THOUGHT,
            "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
            "yes",
            "<|im_end|>",
        ),
        (OPEN_THOUGHT, "<s>User: u Assistant: ", "yes", ""),
        (EOS_WITHOUT_GENERATION_PROMPT, "<user>u<|im_end|>\n<assistant>", "yes", "<|im_end|>\n"),
    ],
)
def test_shapes_of_templates(make_tokenizer, template, prompt, answer, closing):
    tokenizer = make_tokenizer(template)
    renderer = ChatTemplate(tokenizer)
    rendered = renderer.render(_row((USER, "u")))
    assert rendered == Rendered(prompt, answer)
    assert renderer.closing == closing
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": "u"}, {"role": "assistant", "content": "yes"}], tokenize=False
    )
    assert whole.startswith(prompt + answer)


def test_a_generation_prompt_that_no_answer_follows_is_said(make_tokenizer):
    assert "generation prompt differs" in ChatTemplate(make_tokenizer(OPEN_THOUGHT)).description
    assert "differs" not in ChatTemplate(make_tokenizer(MISTRAL)).description


@pytest.mark.parametrize(
    ("template", "turns", "answer", "message"),
    [
        (MISTRAL, [(SYSTEM, "s"), (USER, "u")], "yes", "the chat template refuses it: no role system"),
        (OPEN_THOUGHT, [(USER, "u")], "<think>so</think>yes", "rewrites the answer"),
        (FORGETS_SYSTEM_LATER, [(SYSTEM, "s"), (USER, "u")], "yes", "rewrites earlier turns"),
    ],
)
def test_rows_that_a_template_refuses_or_changes(make_tokenizer, template, turns, answer, message):
    with pytest.raises(RenderError, match=message):
        ChatTemplate(make_tokenizer(template), RenderingRules(adapt_turns=False)).render(
            _row(*turns, answer=answer)
        )


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('no') }}", "constant", "{{ messages[0].content }}", "{% if %}"]
)
def test_a_template_that_cannot_be_used(make_tokenizer, template):
    with pytest.raises(InputError, match=r"chat template .*; set data\.prompt_template"):
        choose_renderer(make_tokenizer(template), None)
