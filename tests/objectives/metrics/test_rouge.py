import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from loratory.objectives.metrics import score_texts

VARIANTS = ["rouge1", "rouge2", "rougeL"]
TEXT = st.text(st.sampled_from("abcAB12 .,_-\n"), max_size=40) | st.text(st.sampled_from(string.printable))


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_ascii_text_scores_as_with_rouge_scores_own_tokenizer(texts):
    predictions, references = map(list, zip(*texts, strict=True))
    oracle = RougeScorer(VARIANTS)
    results = [oracle.score(r, p) for p, r in texts]
    scores = score_texts(VARIANTS, predictions, references)
    for variant in VARIANTS:
        expected = [result[variant].fmeasure for result in results]
        assert scores.metrics[variant].tolist() == expected
        assert scores.aggregate[variant] == pytest.approx(sum(expected) / len(expected), abs=1e-12)


def test_chinese_scores_as_if_its_characters_were_spaced_words(chinese):
    predictions, references = chinese

    def letters(text):
        # The same texts for rouge_score's ASCII tokenizer: each Han character spelled as one ASCII word.
        return "".join(c if c.isascii() else f" u{ord(c):x} " if c.isalpha() else " " for c in text)

    oracle = RougeScorer(VARIANTS)
    scores = score_texts(VARIANTS, predictions, references)
    for place, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        expected = oracle.score(letters(reference), letters(prediction))
        for variant in VARIANTS:
            assert scores.metrics[variant][place] == expected[variant].fmeasure


def test_chinese_by_hand():
    # Shared: all 5 characters, in order; of the bigrams 返回, 回两 and 两数.
    scores = score_texts(VARIANTS, ["返回两数和"], ["返回两数之和"])
    assert scores.aggregate["rouge1"] == pytest.approx(2 * 5 / (5 + 6))
    assert scores.aggregate["rouge2"] == pytest.approx(2 * 3 / (4 + 5))
    assert scores.aggregate["rougeL"] == pytest.approx(2 * 5 / (5 + 6))


@pytest.mark.parametrize(("prediction", "reference"), [("", "a"), ("a", ""), ("", ""), ("...", "a")])
def test_a_side_without_words_scores_zero(prediction, reference):
    assert set(score_texts(VARIANTS, [prediction], [reference]).aggregate.values()) == {0.0}


def test_the_signature_says_what_differs_from_the_package_default():
    signature = score_texts(["rougeL"], ["a"], ["a"]).signatures["rougeL"]
    assert signature == "measure:f|case:lc|stem:no|tok:unicode-words|norm:nfkc|version:0.1.2"


PACKAGE = {f"rouge_score_{v.removeprefix('rouge')}": v for v in (*VARIANTS, "rougeLsum")}


@pytest.mark.parametrize("stemmer", [False, True])
@given(texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_rouge_score_is_the_package_as_it_is(texts, stemmer):
    predictions, references = map(list, zip(*texts, strict=True))
    oracle = RougeScorer(list(PACKAGE.values()), use_stemmer=stemmer)
    results = [oracle.score(r, p) for p, r in texts]
    scores = score_texts(list(PACKAGE), predictions, references, rouge_stemmer=stemmer)
    for name, variant in PACKAGE.items():
        assert scores.metrics[name].tolist() == [result[variant].fmeasure for result in results]


def test_the_stemmer_joins_forms_of_a_word_and_is_signed():
    plain, stemmed = (
        score_texts(list(PACKAGE), ["it returned files"], ["it returns a file"], rouge_stemmer=stemmer)
        for stemmer in (False, True)
    )
    assert plain.aggregate["rouge_score_1"] == pytest.approx(2 / 7)
    assert stemmed.aggregate["rouge_score_1"] == pytest.approx(6 / 7)
    assert "stem:porter|tok:rouge_score" in stemmed.signatures["rouge_score_L"]
    assert "stem:no|tok:rouge_score" in plain.signatures["rouge_score_L"]


def test_lsum_compares_line_by_line_in_any_script():
    ascii_lines = ["one two\nthree four", "three four\none two"]
    [expected] = [RougeScorer(["rougeLsum"]).score(*ascii_lines)["rougeLsum"].fmeasure]
    scores = score_texts(["rougeL", "rougeLsum", "rouge_score_Lsum"], ascii_lines[1:], ascii_lines[:1])
    assert scores.aggregate["rougeLsum"] == scores.aggregate["rouge_score_Lsum"] == expected == 1.0
    assert scores.aggregate["rougeL"] == 0.5
    chinese = score_texts(["rougeLsum", "rouge_score_Lsum"], ["返回值\n两数之和"], ["两数之和\n返回值"])
    assert chinese.aggregate == {"rougeLsum": 1.0, "rouge_score_Lsum": 0.0}
    assert "sentences:lines" in chinese.signatures["rougeLsum"]
