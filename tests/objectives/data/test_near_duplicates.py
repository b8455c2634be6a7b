"""Rows that share a long context stay where they ask or answer something else; true near copies go."""

import random
from dataclasses import replace

import numpy as np
import pytest

from loratory.objectives.data.duplicates import clean
from loratory.objectives.data.encoded_rows import EncodedRows
from loratory.objectives.data.encoding import Encoded
from loratory.objectives.data.rows import Ledger, Part, RawRow, Role, Row, Turn
from loratory.spaces.data import CleaningSpec, NearDuplicates

ENGLISH = [
    "river",
    "engine",
    "garden",
    "market",
    "planet",
    "violin",
    "bridge",
    "harbour",
    "forest",
    "ledger",
    "stone",
    "window",
    "letter",
    "captain",
    "winter",
    "island",
    "mirror",
    "candle",
    "orchard",
    "thunder",
    "saddle",
    "kitchen",
    "poem",
    "shadow",
    "valley",
    "anchor",
    "basket",
    "copper",
    "dragon",
    "feather",
]
CHINESE = [chr(code) for code in range(0x4E00, 0x4E00 + 900, 7)]
THAI = [chr(code) for code in range(0x0E01, 0x0E2F)]
SPACED, UNSPACED = ("english", "russian"), ("chinese", "thai")

QUESTIONS = {
    "english": [
        "Where was the old captain born?",
        "How many ships did the harbour hold?",
        "Who wrote the first letter to the king?",
        "When did the long winter end?",
        "Why was the stone bridge closed?",
    ],
    "russian": [
        "Где родился старый капитан?",
        "Сколько кораблей стояло в гавани?",
        "Кто написал королю первое письмо?",
        "Когда закончилась долгая зима?",
        "Почему закрыли каменный мост?",
    ],
    "chinese": [
        "老船长出生在哪里",
        "港口里有多少艘船",
        "谁给国王写了第一封信",
        "漫长的冬天何时结束",
        "石桥为什么关闭了",
    ],
    "thai": [
        "กัปตันเกิดที่ไหน",
        "มีเรือกี่ลำในท่า",
        "ใครเขียนจดหมายฉบับแรก",
        "ฤดูหนาวสิ้นสุดเมื่อไร",
        "ทำไมสะพานถึงปิด",
    ],
}


def _context(script, words, seed):
    draw = random.Random(seed)
    if script == "english":
        return " ".join(f"{draw.choice(ENGLISH)}{draw.choice(['', 's', 'ed'])}" for _ in range(words))
    if script == "russian":
        return " ".join("".join(draw.choices("абвгдежзиклмнопрст", k=5)) for _ in range(words))
    return "".join(draw.choices(CHINESE if script == "chinese" else THAI, k=2 * words))


def _example(number, prompt, answer, context=""):
    turns = [Turn(Role.USER, prompt)] + ([Turn(Role.INPUT, context)] if context else [])
    raw = RawRow(file="train.jsonl", number=number, fields={})
    row = Row(raw=raw, turns=tuple(turns), answer=answer, group=None)
    return Encoded(
        row=row,
        example_id=row.content_id,
        group=row.content_id,
        prompt=prompt,
        reference=answer,
        prompt_ids=(1,),
        answer_ids=(2,),
    )


def removed_of(train, held_out=(), near=NearDuplicates.PARTS, **cleaning):
    """Return number and reason of the rows of train that cleaning removes."""
    rows, ledger = EncodedRows.of([*held_out, *train]), Ledger()
    split = np.arange(len(held_out)), np.arange(len(held_out), len(rows))
    parts = {Part.EVAL: split[0], Part.TEST: np.arange(0), Part.TRAIN: split[1]}
    clean(rows, parts, cleaning=CleaningSpec(**cleaning), near_duplicates=near, ledger=ledger)
    return [(entry["row"], entry["reason"]) for entry in ledger.entries]


def _layouts(context, question):
    yield f"{context}\n\n{question}", ""
    yield f"{question}\n{context}", ""
    yield f"Context: {context} Question: {question} Answer:", ""
    yield question, context


@pytest.mark.parametrize("script", [*SPACED, *UNSPACED])
@pytest.mark.parametrize("words", [60, 200, 800])
@pytest.mark.parametrize("layout", range(4))
@pytest.mark.parametrize("same_answers", [False, True])
def test_questions_on_one_context_stay(script, words, layout, same_answers):
    rows = []
    for seed in range(4):
        context = _context(script, words, seed)
        for number, question in enumerate(QUESTIONS[script]):
            prompt, beside = list(_layouts(context, question))[layout]
            answer = "yes" if same_answers else f"answer {number} of {seed}"
            rows.append(_example(len(rows), prompt, answer, beside))
    assert removed_of(rows) == []
    assert removed_of(rows[::2], rows[1::2]) == []


def test_five_questions_on_sixty_contexts_of_two_hundred_words():
    rows = []
    for seed in range(60):
        context = _context("english", 200, seed)
        for number, question in enumerate(QUESTIONS["english"]):
            rows.append(
                _example(len(rows), f"{context}\n{question}", f"{ENGLISH[(seed + number) % 30]} {seed}")
            )
    assert removed_of(rows[30:], rows[:30]) == []
    eaten = removed_of(rows[30:], rows[:30], near=NearDuplicates.WHOLE)
    assert len(eaten) > 200, "compared as wholes, most of these rows go"


def _changed(context, script, at):
    if script in SPACED:
        words = context.split()
        words[at * len(words) // 10] = "changed"
        return " ".join(words)
    place = at * len(context) // 10
    return context[:place] + ("\u9fa0" if script == "chinese" else "\u0e2f") + context[place + 1 :]


@pytest.mark.parametrize("script", [*SPACED, *UNSPACED])
@pytest.mark.parametrize("words", [150, 400, 1500])
@pytest.mark.parametrize("layout", range(4))
def test_near_copies_go(script, words, layout):
    context, question, answer = _context(script, words, 7), QUESTIONS[script][1], "twelve of them"
    variants = [
        (_changed(context, script, 5), question, answer),
        (_changed(context, script, 0), question, answer),
        (_changed(_changed(context, script, 2), script, 8) if words > 150 else context, question, answer),
        (context, question + (" Please!" if script in SPACED else "请"), answer),
        (context, question, answer + " indeed"),
        (context.upper(), question, answer.title() + "."),
    ]
    rows = []
    for number, (text, asked, said) in enumerate([(context, question, answer), *variants]):
        prompt, beside = list(_layouts(text, asked))[layout]
        rows.append(_example(number, prompt, said, beside))
    for row in rows[1:]:
        number = row.row.raw.number
        assert [n for n, _ in removed_of([rows[0], row])] == [number], variants[number - 1][1:]
        assert removed_of([row], rows[:1]) in ([(number, "leaked")],)


@pytest.mark.parametrize(("at", "goes"), [(0, True), (10, True), (199, True)])
def test_a_long_answer_with_one_word_changed_is_a_near_copy(at, goes):
    words = _context("english", 200, 3).split()
    other = [*words[:at], "otherwise", *words[at + 1 :]]
    rows = [_example(0, "Tell it.", " ".join(words)), _example(1, "Tell it.", " ".join(other))]
    assert bool(removed_of(rows)) is goes


def test_a_short_answer_with_one_word_changed_is_another_answer():
    prompt = f"{_context('english', 300, 1)} How many?"
    answers = ["there were 12 of them", "there were 15 of them", "12", "15", "-1", "1", "not one", "one"]
    assert removed_of([_example(n, prompt, answer) for n, answer in enumerate(answers)]) == []
    assert removed_of([_example(0, prompt, "one"), _example(1, prompt, "one and more")]) == [
        (1, "near_duplicate")
    ]


def test_one_question_on_many_contexts_stays():
    rows = [_example(n, f"{_context('english', 200, n)} Is it good?", "yes") for n in range(30)]
    assert removed_of(rows) == []


def test_rows_with_other_tools_are_not_copies():
    text = _context("english", 200, 0)
    rows = [_example(n, f"{text} {n}", "yes") for n in range(2)]
    tooled = [replace(e, row=replace(e.row, tools=f'[{{"name": "{n}"}}]')) for n, e in enumerate(rows)]
    assert removed_of(rows) == [(1, "near_duplicate")]
    assert removed_of(tooled) == []


def test_many_names_for_one_prompt_take_no_time():
    rows = [_example(n, "Invent a name.", f"{ENGLISH[n % 30]} {n}") for n in range(3_000)]
    assert removed_of(rows) == []
