import pickle

import numpy as np
import pytest

from loratory.objectives.data.examples import Example, Examples
from loratory.objectives.data.texts import Texts

WORDS = ["", "river", "Füße", "河流", "\ud800", "\U0001f600", ""]


def _example(number, prompt, answer, learned=None):
    return Example(
        example_id=f"id-{number}",
        group=f"group {number % 2}",
        prompt=f"prompt {number}",
        reference=WORDS[number % len(WORDS)],
        prompt_ids=tuple(range(prompt)),
        answer_ids=tuple(range(100_000, 100_000 + answer)),
        learned=learned,
    )


EXAMPLES = [_example(number, 1 + number % 4, 1 + number % 3) for number in range(40)]


def test_texts_come_back_as_they_were():
    texts = Texts.of(WORDS)
    assert list(texts) == [texts[index] for index in range(len(texts))] == WORDS
    assert (texts[-2], texts[2:4][1]) == ("\U0001f600", "河流")
    assert list(texts.take(np.array([3, 1, 3]))) == ["河流", "river", "河流"]
    assert list(Texts.joined([texts, Texts.of(()), texts])) == WORDS * 2
    assert len(Texts.joined([])) == 0
    with pytest.raises(IndexError):
        texts[len(WORDS)]


def test_examples_come_back_as_they_were():
    examples = Examples.of(EXAMPLES)
    assert list(examples) == EXAMPLES
    assert len(examples) == 40
    assert examples[-1] == EXAMPLES[-1]
    assert examples[5] in examples
    assert list(examples[3:30:4]) == EXAMPLES[3:30:4]
    assert list(examples.take(np.array([7, 7, 0]))) == [EXAMPLES[7], EXAMPLES[7], EXAMPLES[0]]
    assert examples.lengths.tolist() == [len(example) for example in EXAMPLES]
    assert examples.answer_lengths.tolist() == [len(example.answer_ids) for example in EXAMPLES]
    assert all(type(token) is int for token in examples[0].prompt_ids)
    assert list(Examples.of(())) == []
    with pytest.raises(IndexError):
        examples[40]


def test_more_examples_than_are_taken_at_once():
    many = Examples.of(EXAMPLES * 500)
    order = np.random.default_rng(0).permutation(len(many))
    taken = many.take(order)
    assert all(taken[place] == EXAMPLES[order[place] % 40] for place in range(0, len(many), 97))
    assert taken.lengths.tolist() == many.lengths[order].tolist()


def test_a_mask_of_learned_tokens_is_kept_per_example():
    masked = _example(1, 2, 2, learned=(False, True, False, True))
    examples = Examples.of([EXAMPLES[0], masked])
    assert examples[1] == masked
    assert examples[0].learned == (False, True)  # the answer alone, as without a mask
    assert examples[1:][0] == masked


def test_examples_pickle_in_few_bytes():
    examples = Examples.of([_example(number, 40, 20) for number in range(2_000)])
    pickled = pickle.dumps(examples, protocol=5)
    assert list(pickle.loads(pickled)) == list(examples)
    assert len(pickled) < 2_000 * (60 * 4 + 100)
