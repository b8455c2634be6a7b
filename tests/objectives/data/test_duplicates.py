import random

import numpy as np
import pytest

from loratory.objectives.data.duplicates import clean, without_exact_duplicates
from loratory.objectives.data.encoded_rows import EncodedRows
from loratory.objectives.data.encoding import Encoded
from loratory.objectives.data.rows import Ledger, Part, RawRow, Role, Row, Turn
from loratory.spaces.data import CleaningSpec, NearDuplicates

LONG = " ".join(f"word{n}" for n in range(100))
CHANGED = LONG.replace("word99", "other")


def _example(number, prompt, answer="yes", instruction=None, file="train.jsonl"):
    turns = [Turn(Role.USER, instruction)] if instruction else []
    turns.append(Turn(Role.INPUT if instruction else Role.USER, prompt))
    raw = RawRow(file=file, number=number, fields={"p": prompt, "a": answer})
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


def _numbers(examples):
    return [example.row.raw.number for example in examples]


def _as_rows(parts):
    """The examples of all splits as arrays, the indices of each split, and the examples by index."""
    every = [example for part in parts.values() for example in part]
    ends = dict(zip(parts, np.cumsum([len(part) for part in parts.values()]).tolist(), strict=True))
    indices = {part: np.arange(ends[part] - len(given), ends[part]) for part, given in parts.items()}
    return EncodedRows.of(every), indices, every


def _cleaned(parts, ledger, *, near=NearDuplicates.PARTS, **cleaning):
    """Clean splits of examples, and return the examples that are kept."""
    rows, indices, every = _as_rows(parts)
    kept = clean(rows, indices, cleaning=CleaningSpec(**cleaning), near_duplicates=near, ledger=ledger)
    return {part: [every[index] for index in chosen] for part, chosen in kept.items()}


def _removed(ledger):
    return [(entry["row"], entry["reason"], entry["detail"]) for entry in ledger.entries]


def _clean(train, held_out=(), **cleaning):
    ledger = Ledger()
    parts = {Part.EVAL: held_out, Part.TEST: [], Part.TRAIN: train}
    kept = _cleaned(parts, ledger, **cleaning)[Part.TRAIN]
    assert len(kept) + len(ledger.entries) == len(train)
    return _numbers(kept), _removed(ledger)


def test_exact_duplicates_fold_unicode_and_spaces_but_not_case():
    texts = ["a  café", "a cafe\u0301\n", "A café", "a café"]
    ledger = Ledger()
    examples = [_example(n, text) for n, text in enumerate(texts, 1)] + [_example(5, "a café", answer="no")]
    rows, indices, _ = _as_rows({Part.TEST: examples})
    kept = without_exact_duplicates(rows, indices[Part.TEST], Part.TEST, ledger)
    assert [rows.numbers[index] for index in kept] == [1, 3, 5]
    assert _removed(ledger) == [
        (2, "exact_duplicate", "repeats train.jsonl, row 1"),
        (4, "exact_duplicate", "repeats train.jsonl, row 1"),
    ]


def test_near_duplicates_name_the_row_and_the_true_similarity():
    train = [_example(1, LONG), _example(2, "something else altogether here now"), _example(3, CHANGED)]
    # 101 words with the answer, 97 shingles; the changed word is in two of them.
    kept, removed = _clean(train)
    assert kept == [1, 2]
    assert removed == [(3, "near_duplicate", f"Jaccard similarity {95 / 99:.3f} to train.jsonl, row 1")]


@pytest.mark.parametrize(("threshold", "kept"), [(95 / 99, [1]), (95 / 99 + 1e-9, [1, 2]), (None, [1, 2])])
def test_the_threshold_is_kept_to_the_digit(threshold, kept):
    assert _clean([_example(1, LONG), _example(2, CHANGED)], near_duplicate_threshold=threshold)[0] == kept


def test_what_stands_in_eval_leaves_train():
    held_out = [_example(8, LONG, file="eval.jsonl"), _example(9, "a short one", file="eval.jsonl")]
    train = [_example(1, CHANGED), _example(2, "a  short one"), _example(3, "a short one", answer="no")]
    kept, removed = _clean(train, held_out)
    assert kept == [3]
    assert removed == [
        (2, "leaked", "stands in eval (eval.jsonl, row 9)"),
        (1, "leaked", f"Jaccard similarity {95 / 99:.3f} to eval (eval.jsonl, row 8)"),
    ]
    assert _clean(train, held_out, leaked=False)[0] == [1, 2, 3]
    assert _clean(train, held_out, near_duplicate_threshold=None)[0] == [1, 3]


def test_rules_can_be_turned_off():
    train = [_example(1, "same thing"), _example(2, "same thing")]
    assert _clean(train, exact_duplicates=False, near_duplicate_threshold=None)[0] == [1, 2]
    assert _clean(train)[1][0][1] == "exact_duplicate"


def test_an_instruction_that_many_rows_share_does_not_make_them_alike():
    inputs = [f"item {n} of the list number {n * 31}" for n in range(30)]
    shared = [_example(n, text, instruction=LONG) for n, text in enumerate(inputs)]
    assert _clean(shared)[0] == list(range(30))
    # Where fewer rows share it, it is part of what they say.
    assert len(_clean(shared[:3], near_duplicate_threshold=0.8)[0]) == 1


def test_chinese_rows():
    text = "今天天气很好我们一起去公园散步然后在湖边喝茶聊天直到太阳下山才慢慢走回家里吃晚饭看书"
    train = [_example(1, text, "好"), _example(2, text[:-1] + "报", "好"), _example(3, text[::-1], "好")]
    kept, removed = _clean(train, near_duplicate_threshold=0.8)
    assert kept == [1, 3]
    assert removed[0][1] == "near_duplicate"


def test_what_stands_in_eval_leaves_test_and_near_copies_within_test_stay():
    held_out = [_example(8, LONG, file="eval.jsonl"), _example(9, "a short one", file="eval.jsonl")]
    twins = [_example(n, f"{LONG[::-1]} {n}", file="test.jsonl") for n in (4, 5)]
    test = [_example(1, CHANGED), _example(2, "a  short one"), _example(3, "another one"), *twins]
    parts = {Part.EVAL: held_out, Part.TEST: test, Part.TRAIN: [twins[0]]}

    def cleaned(**cleaning):
        ledger = Ledger()
        kept = _cleaned(parts, ledger, **cleaning)
        assert kept[Part.EVAL] == held_out
        return _numbers(kept[Part.TEST]), kept[Part.TRAIN], [e["split"] for e in ledger.entries]

    assert cleaned() == ([3, 4, 5], [], ["test", "train", "test"])
    assert cleaned(near_duplicate_threshold=None) == ([1, 3, 4, 5], [], ["test", "train"])
    assert cleaned(leaked=False) == ([1, 2, 3, 4, 5], [twins[0]], [])


def test_rows_under_unlike_instructions_that_many_share_are_not_alike():
    reviews = [f"review {n} says {n * 31} things about place {n * 17}" for n in range(12)]
    questions = ("Is the food praised?", "Is the service praised?")
    rows = [
        _example(12 * q + n, text, instruction=question)
        for q, question in enumerate(questions)
        for n, text in enumerate(reviews)
    ]
    assert _clean(rows)[0] == list(range(24))
    assert _clean(rows[12:], rows[:12])[0] == list(range(12, 24))
    # Under the same question they are.
    assert _clean([*rows, _example(99, reviews[0] + "!", instruction=questions[0])])[1] == [
        (99, "near_duplicate", "Jaccard similarity 1.000 to train.jsonl, row 0")
    ]


WORDS = [f"w{n}" for n in range(400)]


def _contexts(count, *, words=200):
    draw = random.Random(count)
    return [" ".join(draw.choices(WORDS, k=words)) for _ in range(count)]


def _asked(number, context, question, answer):
    raw = RawRow(file="train.jsonl", number=number, fields={"question": question})
    row = Row(raw=raw, turns=(Turn(Role.USER, f"{context}\n\n{question}"),), answer=answer, group=None)
    return Encoded(
        row=row,
        example_id=row.content_id,
        group=row.content_id,
        prompt=question,
        reference=answer,
        prompt_ids=(7,),
        answer_ids=(8, 9),
    )


def _questions(contexts):
    """Five questions with answers of their own on each context."""
    asked = [
        ("Who wrote the letter to the mayor?", "Anna"),
        ("In which year was the bridge opened?", "1907"),
        ("What did the children find there?", "a lantern"),
        ("Why was the harbour closed in winter?", "because of the ice"),
        ("How many boats were lost?", "eleven"),
    ]
    every = [(c, q, f"{a} {n}") for n, c in enumerate(contexts) for q, a in asked]
    return [_asked(number, *given) for number, given in enumerate(every, 1)]


def test_questions_on_one_long_context_are_no_copies_of_each_other():
    rows = _questions(_contexts(60))
    held_out, train = rows[::10], [row for place, row in enumerate(rows) if place % 10]
    assert _clean(train, held_out) == (_numbers(train), [])
    assert len(_clean(train, held_out, near=NearDuplicates.WHOLE)[0]) < len(train) / 2


def test_equal_answers_to_other_questions_on_one_context_are_no_copies():
    [context] = _contexts(1)
    rows = [
        _asked(n, context, question, "yes, it is")
        for n, question in enumerate(("Is the bridge open today?", "Was Anna in the village?"), 1)
    ]
    assert _clean(rows)[1] == []


def test_answers_that_differ_in_one_word_of_few_are_no_copies():
    [context] = _contexts(1)
    rows = [_asked(n, context, "When was it opened?", answer) for n, answer in enumerate(("1907", "1908"), 1)]
    assert _clean(rows)[1] == []


def test_copies_with_a_changed_word_still_go_and_leak():
    contexts = _contexts(20)
    first = _questions(contexts)
    changed = [context.replace(context.split()[100], "other", 1) for context in contexts]
    copies = [_asked(900 + n, *_given(row, changed[n // 5])) for n, row in enumerate(first)]
    kept, removed = _clean([*first, *copies])
    assert kept == _numbers(first)
    assert {reason for _, reason, _ in removed} == {"near_duplicate"}
    kept, removed = _clean(copies, first)
    assert kept == []
    assert {reason for _, reason, _ in removed} == {"leaked"}


def _given(example, context):
    question = example.row.turns[0].text.rpartition("\n\n")[2]
    return context, question, example.row.answer


def test_answers_with_a_few_more_words_are_copies_if_the_question_is_the_same():
    [context] = _contexts(1)
    long = "the children found a lantern below the old bridge"
    rows = [
        _asked(1, context, "What was found?", long),
        _asked(2, context, "What was found?", f"{long} today"),
    ]
    assert [number for number, _, _ in _clean(rows)[1]] == [2]
