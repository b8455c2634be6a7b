import numpy as np
import pytest

from loratory.objectives.metrics import aggregate_from_statistics, score_texts
from loratory.reports.statistics.aggregates import aggregate_of, is_corpus_metric

METRICS = ["bleu", "chrf", "macro_f1", "rougeL", "accuracy"]


def statistics(metric: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    if metric in ("macro_f1", "accuracy"):
        labels = ["yes", "no", "maybe", "never"]
        references = rng.choice(labels, 40).tolist()
        predictions = [r if rng.random() < 0.6 else str(rng.choice([*labels, "what"])) for r in references]
        return score_texts([metric], predictions, references, labels=labels).statistics[metric]
    words = ["the", "list", "of", "open", "files", "path", "is", "a"]
    references = [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(40)]
    predictions = [" ".join(w if rng.random() < 0.7 else "x" for w in r.split()) for r in references]
    predictions[3:6] = ["", "nothing", "the"]
    return score_texts([metric], predictions, references).statistics[metric]


@pytest.mark.parametrize("metric", METRICS)
def test_many_sums_give_what_each_gives_alone(metric: str) -> None:
    columns = statistics(metric)
    # Sums of one example, of some and of all; one example is what smoothing and absent n-grams need.
    drawn = np.random.default_rng(1).multinomial(6, np.full(40, 1 / 40), size=60)
    sums = np.concatenate([columns, drawn @ columns, columns.sum(axis=0, keepdims=True)])
    expected = [aggregate_from_statistics(metric, row) for row in sums]
    assert aggregate_of(metric)(sums) == pytest.approx(expected, rel=1e-12)
    assert aggregate_of(metric)(sums[None, :, :]).shape == (1, len(sums))


def test_nothing_counted_is_no_number() -> None:
    assert aggregate_of("bleu")(np.zeros(10)) == aggregate_of("chrf")(np.zeros(18)) == 0
    assert np.isnan(aggregate_of("macro_f1")(np.zeros(6)))
    assert np.isnan(aggregate_of("rougeL")(np.zeros(2)))


def test_a_corpus_metric_without_a_vectorised_form_is_computed_row_by_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loratory.reports.statistics.aggregates._VECTORISED", {})
    columns = statistics("bleu")
    found = aggregate_of("bleu")(np.stack([columns, columns[::-1]]))
    assert found[0] == pytest.approx(found[1][::-1])
    assert found.shape == (2, 40)


def test_which_metrics_are_of_a_corpus() -> None:
    assert [m for m in (*METRICS, "loss") if is_corpus_metric(m)] == ["bleu", "chrf", "macro_f1"]
