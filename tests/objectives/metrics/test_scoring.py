import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.objectives.metrics import aggregate_from_statistics, score_texts
from loratory.objectives.metrics.scoring import TEXT_METRICS
from loratory.spaces import InputError
from loratory.spaces.metric_names import METRICS, Task, default_metrics

NAMES = list(TEXT_METRICS)
PERCENT = ("bleu", "chrf", "squad_f1", "squad_exact_match")
TOP = {name: 100.0 if name in PERCENT else 1.0 for name in NAMES}
ASCII = [name for name in NAMES if name.startswith("rouge_score")]


def test_the_study_file_knows_exactly_these_metrics():
    assert {*TEXT_METRICS, "loss"} == set(METRICS)
    assert all(set(names) <= set(TEXT_METRICS) for names in map(default_metrics, Task))


def test_shapes_and_signatures(pairs):
    scores = score_texts(NAMES, *pairs)
    examples = len(pairs[0])
    for name in NAMES:
        assert scores.metrics[name].shape == (examples,)
        assert scores.metrics[name].dtype == scores.statistics[name].dtype == np.float64
        assert scores.statistics[name].shape[0] == examples
        assert isinstance(scores.aggregate[name], float)
        assert "version:" in scores.signatures[name]


def test_each_metric_is_best_for_the_reference_itself(pairs):
    _, references = pairs
    scores = score_texts(NAMES, references, references)
    reads_all = all(text.isascii() for text in references)  # rouge_score's own words are of ASCII letters
    best = {name: TOP[name] for name in NAMES if reads_all or name not in ASCII}
    assert {name: scores.aggregate[name] for name in best} == pytest.approx(best)


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_text_has_finite_scores_in_range(texts):
    predictions, references = map(list, zip(*texts, strict=True))
    scores = score_texts(NAMES, predictions, references)
    for name in NAMES:
        top = TOP[name]
        values = np.append(scores.metrics[name], scores.aggregate[name])
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= top + 1e-9
        assert (scores.statistics[name] >= 0).all()


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), min_size=2, max_size=6), st.data())
@settings(max_examples=40, deadline=None)
def test_statistics_add_up_over_any_split_of_the_examples(texts, data):
    predictions, references = map(list, zip(*texts, strict=True))
    names = [n for n in NAMES if n not in ("accuracy", "macro_f1")]
    cut = data.draw(st.integers(1, len(texts) - 1))
    whole = score_texts(names, predictions, references, language="en")
    halves = [
        score_texts(names, predictions[part], references[part], language="en")
        for part in (slice(None, cut), slice(cut, None))
    ]
    for name in names:
        summed = sum(half.statistics[name].sum(axis=0) for half in halves)
        assert aggregate_from_statistics(name, summed) == pytest.approx(whole.aggregate[name], abs=1e-9)


def test_an_empty_prediction_has_scores():
    assert set(score_texts(NAMES, [""], ["return 值"]).aggregate.values()) == {0.0}


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "at least one example to score, got none"),
        (["a"], ["a", "b"], "equally many, got 1 predictions and 2 references"),
        (["a", None], ["a", "b"], "prediction 1 must be text, got None"),
        (["a"], [None], "reference 0 must be text, got None"),
        (["a"], [3], "reference 0 must be text, got 3"),
    ],
)
def test_what_cannot_be_scored_is_refused(predictions, references, message):
    with pytest.raises(InputError, match=message):
        score_texts(NAMES, predictions, references)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"metric must be one of bleu, .*, got 'meteor'"):
        score_texts(["meteor"], ["a"], ["a"])
    with pytest.raises(InputError, match="got 'loss'"):
        aggregate_from_statistics("loss", np.ones(2))


def test_300_short_pairs_take_well_under_a_second():
    words = ["return", "the", "sum", "of", "all", "values", "or", "None", "if", "missing", "返回", "值"]
    texts = [" ".join(words[(i * k) % 12] for k in range(1, 15)) for i in range(301)]
    score_texts(NAMES, texts[:1], texts[1:2])  # imports
    begin = time.process_time()
    score_texts(NAMES, texts[:-1], texts[1:])
    assert time.process_time() - begin < 1


def test_importing_the_metrics_imports_nothing_heavy():
    heavy = "{'torch', 'evaluate', 'datasets', 'nltk', 'rouge_score', 'sacrebleu', 'ray'}"
    code = f"import sys, loratory.objectives.metrics; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
