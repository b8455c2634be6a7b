import pytest

from loratory.objectives.metrics import score_texts


def f1(prediction, reference):
    return score_texts(["token_f1"], [prediction], [reference]).aggregate["token_f1"]


def exact(prediction, reference):
    return score_texts(["exact_match"], [prediction], [reference]).aggregate["exact_match"]


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("The cat.", "a cat", 1.0),
        ("black cat", "cat", 2 / 3),
        ("cat cat", "cat", 2 / 3),
        ("北京", "北京市", 4 / 5),
        ("《北京》。", "北京", 1.0),
        ("東京タワー", "東京", 4 / 7),
        ("Zürich", "zürich!", 1.0),
        ("１２", "12", 1.0),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
        ("cat", "", 0.0),
        ("", "", 1.0),
        ("the", "", 0.0),
        ("+", "-", 0.0),
        (" + ", "+", 1.0),
    ],
)
def test_token_f1(prediction, reference, expected):
    assert f1(prediction, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        (" yes\n", "yes", 1.0),
        ("e\u0301", "é", 1.0),
        ("好。", "好。", 1.0),
        ("Yes", "yes", 0.0),
        ("yes.", "yes", 0.0),
        ("", "yes", 0.0),
        ("", "", 1.0),
    ],
)
def test_exact_match(prediction, reference, expected):
    assert exact(prediction, reference) == expected


def test_aggregates_are_means_over_examples():
    scores = score_texts(["token_f1", "exact_match"], ["cat", "black cat", ""], ["cat", "cat", "cat"])
    assert scores.aggregate["token_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert scores.aggregate["exact_match"] == pytest.approx(1 / 3)
