import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.objectives.data.minhash import MISS_PROBABILITY, band_shape
from loratory.objectives.data.shingles import Shingler, ShingleSets, jaccard, without_common
from loratory.objectives.data.similarity import SimilarityIndex

WORDS = [f"w{n}" for n in range(3000)]


def _five_grams(words):
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


@settings(deadline=None, max_examples=100)
@given(
    first=st.lists(st.sampled_from("abc"), min_size=1, max_size=20),
    second=st.lists(st.sampled_from("abc"), min_size=1, max_size=20),
)
def test_jaccard_is_that_of_word_5_grams(first, second):
    shingler = Shingler()
    a, b = _five_grams(first), _five_grams(second)
    found = jaccard(shingler.shingles(" ".join(first)), shingler.shingles(" ".join(second)))
    assert found == pytest.approx(len(a & b) / len(a | b))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("The cat sat, on the mat.", "the CAT sat on\nthe mat", True),
        ("ｆｕｌｌ width", "full width", True),
        ("4 - 2", "4 / 2", False),
        ("我喜欢吃苹果。", "我喜欢吃苹果！", True),
        ("one two", "one", False),
    ],
)
def test_what_is_folded(first, second, same):
    shingler = Shingler()
    assert (jaccard(shingler.shingles(first), shingler.shingles(second)) == 1.0) is same


def test_chinese_is_compared_by_characters():
    text = "今天天气很好我们一起去公园散步然后在湖边喝茶聊天直到太阳下山才慢慢走回家里吃晚饭看书"
    shingler = Shingler()
    assert len(shingler.shingles(text)) == len(text) - 4
    changed = text[:-1] + "报"
    similarity = jaccard(shingler.shingles(text), shingler.shingles(changed))
    assert similarity == pytest.approx((len(text) - 5) / (len(text) - 3))


def test_text_without_words_is_like_nothing():
    empty = Shingler().shingles("?!")
    index = SimilarityIndex(ShingleSets.of([empty, empty]), 0.5)
    index.add(0)
    assert index.find(1) is None
    assert jaccard(empty, empty) == 0.0


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_miss_few_pairs_at_the_threshold(threshold):
    bands, rows = band_shape(threshold)
    assert bands * rows <= 128
    assert bands >= 2
    assert (1 - threshold**rows) ** bands <= MISS_PROBABILITY


@pytest.mark.parametrize("threshold", [0.6, 0.9])
def test_the_index_agrees_with_brute_force(threshold):
    # Variants of 40 texts, with 0 to 25 words replaced: similarities on both sides of the threshold.
    draw = random.Random(0)
    texts = []
    for _ in range(40):
        words = draw.choices(WORDS, k=120)
        for replaced in (0, 0, 1, 2, 3, 5, 8, 25):
            variant = list(words)
            for at in draw.sample(range(120), replaced):
                variant[at] = draw.choice(WORDS)
            texts.append(" ".join(variant))
    shingler = Shingler()
    shingles = [shingler.shingles(text) for text in texts]
    index = SimilarityIndex(ShingleSets.of(shingles), threshold)
    found, expected = [], []
    for position in range(len(texts)):
        similar = [s for s in shingles[:position] if jaccard(s, shingles[position]) >= threshold]
        expected.append(bool(similar))
        match = index.find(position)
        found.append(match is not None)
        if match is not None:
            assert match[1] == jaccard(shingles[match[0]], shingles[position]) >= threshold
        index.add(position)
    assert 40 < sum(expected) < 280
    assert found == expected


def test_shingles_of_a_template_are_left_out_where_there_are_many_texts():
    shingler = Shingler()
    template = " ".join(WORDS[:100])
    texts = [shingler.shingles(f"{template} {WORDS[200 + n]} a b c d e{n}") for n in range(101)]
    own = without_common(ShingleSets.of(texts))
    assert jaccard(texts[0], texts[1]) > 0.8
    assert jaccard(own[0], own[1]) == 0.0
    assert all(len(text) for text in own)
    few = without_common(ShingleSets.of(texts[:100]))
    assert all(np.array_equal(a, b) for a, b in zip(few, texts[:100], strict=True))


def test_ten_thousand_rows_take_seconds():
    draw = random.Random(1)
    shingler = Shingler()
    started = time.process_time()
    shingles = [shingler.shingles(" ".join(draw.choices(WORDS, k=120))) for _ in range(10_000)]
    shingles = without_common(ShingleSets.of(shingles))
    index = SimilarityIndex(shingles, 0.9)
    for position in range(len(shingles)):
        assert index.find(position) is None
        index.add(position)
    assert time.process_time() - started < 20
