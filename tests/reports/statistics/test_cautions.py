import numpy as np
import pytest

from loratory.objectives.metrics import score_texts
from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.cautions import cautions, unchecked
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (None, ()),
        (["a"] * 40, ("One group alone says nothing about chance: no intervals.",)),
        (["a", "b"] * 20, ("Few groups (2): intervals are rough.",)),
        (list("abcdefghij") * 4, ()),
    ],
)
def test_few_groups(table, groups, said) -> None:
    found, _ = scored({"x": table([0.1, 0.2] * 20, groups=groups)}, "rougeL", Direction.MAXIMIZE)
    assert cautions(found) == said


@pytest.mark.parametrize(("labels", "said"), [(20, 0), (21, 1)])
def test_many_labels(labels, said) -> None:
    references = [f"label {i % labels}" for i in range(100)]
    scores = score_texts(["macro_f1"], references, references, labels=sorted(set(references)))
    ids = tuple(map(str, np.arange(100)))
    held = ScoreTable(example_ids=ids, groups=ids, **vars(scores))
    found, _ = scored({"x": held}, "macro_f1", Direction.MAXIMIZE)
    assert len(cautions(found)) == said
    assert all("21" in sentence for sentence in cautions(found))


@pytest.mark.parametrize("metric", ["rougeL", "accuracy", "bleu", "macro_f1", "squad_f1"])
def test_metrics_that_simulations_checked_have_no_word(metric) -> None:
    assert unchecked(metric, metric) == ""


@pytest.mark.parametrize("metric", ["chrf", "loss", "reward"])
def test_other_metrics_say_that_nothing_checked_them(metric) -> None:
    assert unchecked(metric, "M") == "Intervals of M were not checked by simulation (docs/statistics.md)."
