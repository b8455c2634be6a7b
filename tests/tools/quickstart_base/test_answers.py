import random

import pytest

from loratory.objectives.quickstart.pairs import Pair
from loratory.objectives.quickstart.stdlib import Split, split_of
from quickstart_base.answers import AnswerFilter, searchable

SENTENCE = "Return a new, empty box of the given size."


@pytest.mark.parametrize(
    "text",
    [
        f'def f():\n    """{SENTENCE}"""\n',
        'def f():\n    """Return a new, empty\n    box of  the given size (in metres)."""\n',
        "# Return a new, empty box\n# of the given size\n",
        "xReturn a new, empty box of the given sizes",
    ],
)
def test_a_sentence_is_found_however_it_is_wrapped(text: str) -> None:
    assert AnswerFilter([SENTENCE]).found_in(text) == [SENTENCE.rstrip(".")]


@pytest.mark.parametrize("text", ["", "Return a new box of the given size.", SENTENCE.lower()])
def test_another_sentence_is_not_found(text: str) -> None:
    assert AnswerFilter([SENTENCE]).found_in(text) == []


def test_sentences_of_one_and_two_words_are_found_and_trivial_ones_are_not_looked_for() -> None:
    answers = AnswerFilter(["Stub", "__getattr__()", "Subclasses override"])
    assert answers.found_in("Stub; x.__getattr__(); (Subclasses override)") == [
        "Subclasses override",
        "__getattr__()",
    ]


def test_the_filter_finds_what_a_plain_search_finds(stdlib_pairs: list[Pair], answers: AnswerFilter) -> None:
    for pair in random.Random(0).sample(stdlib_pairs, 60):
        text = f'{pair.input}\n"""{pair.output}"""'
        plain = sorted(needle for needle in answers.needles if needle in searchable(text))
        assert answers.found_in(text) == plain


def test_nearly_all_answers_are_looked_for(stdlib_pairs: list[Pair], answers: AnswerFilter) -> None:
    outputs = {pair.output for pair in stdlib_pairs if split_of(pair.group) is not Split.TRAIN}
    assert AnswerFilter(outputs).needles == answers.needles
    assert len(answers.needles) > 0.98 * len(outputs)
