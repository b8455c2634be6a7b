from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from loratory.objectives.metrics import score_texts
from loratory.objectives.scores import ScoreTable
from loratory.reports.uncertainty import intervals, read_table, resampled_scores, resampling


def table(
    values: list[float], *, groups: list[str] | None = None, aggregate: float | None = None
) -> ScoreTable:
    scores = np.array(values)
    return ScoreTable(
        example_ids=tuple(f"e{i}" for i in range(len(values))),
        groups=tuple(groups or [f"e{i}" for i in range(len(values))]),
        metrics={"rougeL": scores},
        statistics={},
        signatures={},
        aggregate={"rougeL": float(scores.mean()) if aggregate is None else aggregate},
    )


def test_corpus_metric_of_a_resample_is_sacrebleus_on_the_drawn_texts() -> None:
    rng = np.random.default_rng(5)
    words = ["the", "list", "of", "open", "files", "path", "is", "a"]
    references = [" ".join(rng.choice(words, 9)) for _ in range(12)]
    predictions = [" ".join(w if rng.random() < 0.7 else "x" for w in r.split()) for r in references]
    scores = score_texts(["bleu"], predictions, references)
    held = ScoreTable(example_ids=tuple(map(str, range(12))), groups=("",) * 12, **vars(scores))
    drawn = resampling(held, seed=1, resamples=20)
    found = resampled_scores(held, "bleu", drawn)
    assert found is not None
    for draw, value in zip(drawn.draws, found, strict=True):
        picked = [drawn.unit_of_example.tolist().index(u) for u in range(12) for _ in range(int(draw[u]))]
        expected = BLEU(force=True).corpus_score(
            [predictions[i] for i in picked], [[references[i] for i in picked]]
        )
        assert value == pytest.approx(expected.score, rel=1e-9)


def test_interval_of_a_mean_is_as_wide_as_the_normal_one() -> None:
    values = np.random.default_rng(2).normal(0.5, 0.1, 400)
    held = table(values.tolist())
    found = intervals({3: held}, "rougeL", resampling(held, seed=0, resamples=4000))[3]
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
    assert (found.high + found.low) / 2 == pytest.approx(values.mean(), abs=0.002)


def test_groups_are_drawn_whole_where_there_are_enough() -> None:
    # 25 groups of 8 equal scores hold as much as 25 examples, not as 200.
    means = np.random.default_rng(3).normal(0.5, 0.1, 25)
    values = np.repeat(means, 8).tolist()
    grouped = table(values, groups=[f"g{i // 8}" for i in range(200)])
    alone = table(values)
    assert (resampling(grouped, seed=0).unit, resampling(grouped, seed=0).units) == ("group", 25)
    assert (resampling(alone, seed=0).unit, resampling(alone, seed=0).units) == ("example", 200)
    wide = intervals({0: grouped}, "rougeL", resampling(grouped, seed=0))[0]
    narrow = intervals({0: alone}, "rougeL", resampling(alone, seed=0))[0]
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(8**0.5, rel=0.15)


def test_few_groups_are_not_drawn() -> None:
    held = table([0.1, 0.9] * 10, groups=["one", "two"] * 10)
    assert resampling(held, seed=0).unit == "example"


def test_the_same_seed_draws_the_same() -> None:
    held = table([0.1, 0.5, 0.7])
    assert (resampling(held, seed=4).draws == resampling(held, seed=4).draws).all()
    assert (resampling(held, seed=4).draws != resampling(held, seed=5).draws).any()


@pytest.mark.parametrize(
    "odd",
    [
        table([0.1, float("nan"), 0.3]),
        table([0.1, 0.2]),
        table([0.1, 0.2, 0.3], aggregate=0.9),
    ],
    ids=["not finite", "other examples", "does not give the recorded value"],
)
def test_scores_that_do_not_fit_get_no_interval(odd: ScoreTable) -> None:
    drawn = resampling(table([0.1, 0.2, 0.3]), seed=0)
    assert intervals({1: odd}, "rougeL", drawn) == {}
    assert intervals({1: table([0.1, 0.2, 0.3])}, "bleu", drawn) == {}


def test_no_scores_kept_is_none(tmp_path: Path) -> None:
    assert read_table(tmp_path) is None
