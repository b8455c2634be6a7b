import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from loratory.objectives.metrics import score_texts
from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics import resamples as module
from loratory.reports.statistics.resamples import resampled_deviations, resampled_values, resamples
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction


def test_the_same_seed_draws_the_same() -> None:
    assert (resamples(9, seed=4) == resamples(9, seed=4)).all()
    assert (resamples(9, seed=4) != resamples(9, seed=5)).any()
    assert (resamples(9, seed=4).sum(axis=1) == 9).all()
    assert resamples(9, seed=4).shape == (1000, 9)


def test_bleu_of_a_resample_is_sacrebleus_on_the_drawn_texts() -> None:
    rng = np.random.default_rng(5)
    words = ["the", "list", "of", "open", "files", "path", "is", "a"]
    references = [" ".join(rng.choice(words, 9)) for _ in range(12)]
    predictions = [" ".join(w if rng.random() < 0.7 else "x" for w in r.split()) for r in references]
    scores = score_texts(["bleu"], predictions, references)
    ids = tuple(map(str, range(12)))
    held = ScoreTable(example_ids=ids, groups=ids, **vars(scores))
    found, _ = scored({"a": held, "b": held}, "bleu", Direction.MAXIMIZE)
    drawn = resamples(12, seed=1, count=20)
    values = resampled_values(found, drawn)
    assert values.shape == (2, 20)
    assert (values[0] == values[1]).all()
    for draw, value in zip(drawn, values[0], strict=True):
        picked = [i for i in range(12) for _ in range(int(draw[i]))]
        expected = BLEU(force=True).corpus_score(
            [predictions[i] for i in picked], [[references[i] for i in picked]]
        )
        assert value == pytest.approx(expected.score, rel=1e-9)


def test_parts_give_what_the_whole_gives(by_group, monkeypatch) -> None:
    found, _ = scored(by_group, "bleu", Direction.MAXIMIZE)
    drawn = resamples(found.units, seed=0)
    whole = resampled_values(found, drawn)
    monkeypatch.setattr(module, "_CHUNK_NUMBERS", 30_000)
    assert resampled_values(found, drawn) == pytest.approx(whole)


def test_deviations_have_the_spread_of_the_values() -> None:
    values = np.random.default_rng(0).normal(size=(3, 500))
    values[1, 7] = np.nan  # A resample on which a trial has no value counts for no trial.
    found = resampled_deviations(values)
    assert found.standard_errors == pytest.approx(np.delete(values, 7, axis=1).std(axis=1))
    assert resampled_deviations(np.full((2, 5), np.nan)).rows.shape == (2, 0)
