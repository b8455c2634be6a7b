import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.objectives.metrics import aggregate_from_statistics, score_texts
from loratory.objectives.metrics.labels import LabelReader
from loratory.spaces import InputError

LABELS = ("positive", "neutral", "negative")


def macro_f1_by_definition(predictions, references):
    """Mean over the labels seen of 2PR / (P + R), from precision and recall of each."""
    scores = []
    for label in sorted(({*predictions} & {*LABELS}) | {*references}):
        hits = sum(p == r == label for p, r in zip(predictions, references, strict=True))
        precision = hits / max(1, predictions.count(label))
        recall = hits / max(1, references.count(label))
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return sum(scores) / len(scores)


@given(
    st.lists(st.tuples(st.sampled_from([*LABELS, "", "other"]), st.sampled_from(LABELS)), min_size=1),
    st.booleans(),
)
def test_against_the_definitions(pairs, known):
    predictions, references = map(list, zip(*pairs, strict=True))
    labels = LABELS if known else ()
    scores = score_texts(["accuracy", "macro_f1"], predictions, references, labels=labels)
    right = [p == r for p, r in pairs]
    assert scores.aggregate["accuracy"] == pytest.approx(np.mean(right))
    assert scores.metrics["macro_f1"].tolist() == [float(hit) for hit in right]
    if known:
        assert scores.aggregate["macro_f1"] == pytest.approx(macro_f1_by_definition(predictions, references))


def test_known_value():
    # Worked by hand: positive 2*1/(1+2), neutral 2*1/(2+1), negative 0 of 1 answered, 1 right.
    predictions = ["positive", "neutral", "neutral", "negative", "nonsense"]
    references = ["positive", "positive", "neutral", "neutral", "negative"]
    expected = (2 * 1 / (1 + 2) + 2 * 1 / (2 + 2) + 0) / 3
    scores = score_texts(["macro_f1"], predictions, references, labels=LABELS)
    assert scores.aggregate["macro_f1"] == pytest.approx(expected)
    assert scores.statistics["macro_f1"].sum(axis=0).tolist() == [1, 1, 0, 1, 2, 1, 2, 2, 1]


def test_statistics_of_a_resample_give_its_score():
    predictions = ["positive", "neutral", "negative", ""]
    references = ["positive", "positive", "neutral", "negative"]
    statistics = score_texts(["macro_f1"], predictions, references, labels=LABELS).statistics["macro_f1"]
    drawn = [0, 1, 1, 3]
    expected = macro_f1_by_definition([predictions[i] for i in drawn], [references[i] for i in drawn])
    assert aggregate_from_statistics("macro_f1", statistics[drawn].sum(axis=0)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "answer", "place"),
    [
        (("yes", "no"), " Yes.\n", 0),
        (("正面", "负面"), "负面。", 1),
        (("C", "C++"), "C++", 1),
        (("C", "C++"), "c", -1),
        (("+", "-"), "-", 1),
        (("1", "2"), "２", 1),
        (("yes", "no"), "yes and no", -1),
        (("yes", "no"), "", -1),
        (("-1", "0", "1"), "-1", 0),
        (("0", "1"), "-1", -1),
        (("-1", "0"), "1", -1),
        (("-1", "0"), " -1.", 0),
        (("A", "B"), "A-", -1),
        (("A", "B"), "A+", -1),
        (("5", "10"), "5%", -1),
        (("5", "7"), ".5", -1),
        (("C", "Java"), "C#", -1),
        (("5", "7"), "(5)", 0),
        (("yes", "no"), "**Yes**.", 0),
        (("yes", "no"), "- Yes!", 0),
        (("yes", "no"), "“No” 👍", 1),
    ],
)
def test_reading_a_label_from_an_answer(labels, answer, place):
    assert LabelReader(labels).read([answer]).tolist() == [place]


def test_a_reference_that_is_no_label_is_refused():
    with pytest.raises(InputError, match=r"every reference must be one of the 3 labels, got 'odd'"):
        score_texts(["accuracy"], ["positive"], ["odd"], labels=LABELS)


def test_free_text_is_no_label_task():
    texts = [f"text {number}" for number in range(1001)]
    with pytest.raises(InputError, match=r"at most 1000 labels, got 1001"):
        score_texts(["macro_f1"], texts, texts)
