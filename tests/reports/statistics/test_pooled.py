from dataclasses import replace

import pytest

from loratory.objectives.metrics import score_texts
from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.pooled import pooled
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction

METRICS = ("rougeL", "bleu", "chrf", "token_f1", "exact_match")
REFERENCES = [
    "return the list of open files",
    "a path",
    "close the file and return None",
    "the sum of x and y",
]
PREDICTIONS = ["return a list of files", "a path", "close file", "sum of all of y and x"]


def _table(indices: list[int]) -> ScoreTable:
    predictions, references = [PREDICTIONS[i] for i in indices], [REFERENCES[i] for i in indices]
    scores = score_texts(METRICS, predictions, references)
    ids = tuple(f"e{i}" for i in indices)
    return ScoreTable(example_ids=ids, groups=ids, **vars(scores))


@pytest.mark.parametrize("metric", METRICS)
def test_the_value_over_both_parts_is_that_of_all_their_texts(metric: str) -> None:
    joined = pooled((_table([0]), _table([1, 2, 3])), metric)
    assert joined is not None
    whole = _table([0, 1, 2, 3])
    assert joined.aggregate[metric] == pytest.approx(whole.aggregate[metric])
    assert (joined.example_ids, joined.groups) == (whole.example_ids, whole.groups)
    found, left_out = scored({"a": joined}, metric, Direction.MAXIMIZE)
    assert found is not None and left_out == {}
    assert found.values[0] == pytest.approx(whole.aggregate[metric])


def test_a_part_without_scores_per_example_leaves_nothing_to_pool() -> None:
    part = _table([0, 1])
    without = replace(part, metrics={}, statistics={})
    assert pooled((part, without), "rougeL") is None
    assert pooled((part, part), "squad_f1") is None
