"""Values of SQuAD's evaluate-v2.0.py, by its rules."""

import pytest

from loratory.objectives.metrics import score_texts
from loratory.objectives.metrics.squad import squad_words


def squad(prediction, reference):
    scores = score_texts(["squad_f1", "squad_exact_match"], [prediction], [reference]).aggregate
    return scores["squad_f1"], scores["squad_exact_match"]


@pytest.mark.parametrize(
    ("prediction", "reference", "f1", "exact"),
    [
        ("Denver Broncos", "Denver Broncos", 100, 100),
        ("The Denver Broncos!", "denver  broncos", 100, 100),
        ("Broncos", "Denver Broncos", 200 / 3, 0),
        ("gold gold", "gold", 200 / 3, 0),
        ("in the year 1990", "1990", 50, 0),
        ("don't", "dont", 100, 100),
        ("1,000", "1000", 100, 100),
        ("a", "the", 100, 100),
        ("", "Denver", 0, 0),
        ("", "", 100, 100),
        ("well-known", "well known", 0, 0),
        ("北京", "北京市", 0, 0),
        ("“quoted”", "quoted", 0, 0),
    ],
)
def test_values_by_the_official_rules(prediction, reference, f1, exact):
    assert squad(prediction, reference) == (pytest.approx(f1), exact)


def test_articles_are_removed_as_words_and_after_punctuation():
    assert squad_words("An apple a day, the-end; Theatre") == ["apple", "day", "theend", "theatre"]


def test_aggregate_is_the_mean_in_percent_and_signed():
    scores = score_texts(["squad_f1"], ["a cat", "dog", "bird fish"], ["cat", "cat", "bird"])
    assert scores.aggregate["squad_f1"] == pytest.approx((100 + 0 + 200 / 3) / 3)
    assert "version:evaluate-v2.0" in scores.signatures["squad_f1"]
