from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from loratory.objectives.data.rendered import RenderingRules
from loratory.objectives.data.rendering import choose_renderer
from loratory.objectives.data.template_text import TemplateText, date_codes

DATE = datetime(2026, 3, 5, 23, 4, 9, tzinfo=UTC)
MESSAGES = [{"role": "user", "content": "u"}]
CLOCK = "transformers.utils.chat_template_utils.datetime"


@pytest.fixture
def on(monkeypatch):
    """Set the clock that transformers' templates read."""
    return lambda date: monkeypatch.setattr(CLOCK, SimpleNamespace(now=lambda: date))


def test_a_fixed_date_is_what_the_template_would_have_written_then(make_tokenizer, templates, on):
    tokenizer = make_tokenizer(templates["DATED"])
    fixed = TemplateText(tokenizer, DATE)
    on(DATE)
    then = [tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=a) for a in (0, 1)]
    on(datetime(2027, 1, 1, tzinfo=UTC))
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False) != then[0]
    assert [fixed(MESSAGES, add_generation_prompt=asked) for asked in (False, True)] == then
    assert "Today Date: 05 Mar 2026\n" in then[0]


@pytest.mark.parametrize(
    "format_", ["%Y-%m-%d", "%A, %-d %B %y", "%H:%M:%S %j %U %%d 100%%", "%F %T", "no code"]
)
def test_every_format_of_a_date(make_tokenizer, format_):
    template = "{{ strftime_now('" + format_ + "') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    assert TemplateText(make_tokenizer(template), DATE)(MESSAGES) == DATE.strftime(format_) + "u"
    assert len(date_codes(DATE)) > 40


def test_a_template_for_tools_alone_has_the_date_too(make_tokenizer, templates):
    with_tools = (
        "{{ tools[0].name }} {{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    tokenizer = make_tokenizer({"default": templates["CHATML"], "tool_use": with_tools})
    text = TemplateText(tokenizer, DATE)
    assert text(MESSAGES, [{"name": "weather"}]) == "weather 2026u"
    assert text(MESSAGES).startswith("<|im_start|>user")


def test_without_a_date_the_clock_decides(make_tokenizer, templates, on):
    on(datetime(2027, 1, 1, tzinfo=UTC))
    assert "01 Jan 2027" in TemplateText(make_tokenizer(templates["DATED"]), None)(MESSAGES)


def test_the_renderer_says_its_date_only_where_prompts_state_it(make_tokenizer, templates):
    rules = RenderingRules(date=DATE)
    dated = choose_renderer(make_tokenizer(templates["DATED"]), None, rules)
    assert dated.date == "2026-03-05"
    assert dated.notes() == ("prompts state the date of the study's start: 2026-03-05",)
    assert choose_renderer(make_tokenizer(templates["CHATML"]), None, rules).date is None
    assert choose_renderer(make_tokenizer(), None, rules).date is None


def test_the_same_data_a_day_later(prepare, write_jsonl, alpaca_rows, make_tokenizer, templates, on):
    path, tokenizer = write_jsonl(alpaca_rows(40)), make_tokenizer(templates["DATED"])
    begun = prepare(path, using=tokenizer, created_at=DATE.isoformat())
    on(datetime(2026, 3, 6, tzinfo=UTC))
    assert prepare(path, using=tokenizer, created_at=DATE.isoformat()).data.sha256 == begun.data.sha256
    assert prepare(path, using=tokenizer).data.sha256 != begun.data.sha256
    assert b'"prompt_date": "2026-03-05"' in begun.files["examples.json"]
