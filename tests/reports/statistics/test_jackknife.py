import numpy as np
import pytest

from loratory.reports.statistics import jackknife as module
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction


def test_error_of_a_mean_is_the_textbook_one(table) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.5, 0.1, 50), rng.normal(0.4, 0.2, 50)
    found, _ = scored({"a": table(a), "b": table(b)}, "rougeL", Direction.MAXIMIZE)
    errors = jackknife(found)
    assert errors.standard_errors == pytest.approx([x.std(ddof=1) / 50**0.5 for x in (a, b)])
    assert errors.paired(0) == pytest.approx([0, (a - b).std(ddof=1) / 50**0.5])


def test_error_of_bleu_is_that_of_its_definition(by_group) -> None:
    found, _ = scored(by_group, "bleu", Direction.MAXIMIZE)
    units = range(found.units)
    without = [found.aggregate(np.delete(found.columns[0], u, axis=0).sum(axis=0)) for u in units]
    expected = np.sqrt(29 / 30 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert jackknife(found).standard_errors[0] == pytest.approx(expected)


def test_small_differences_are_not_lost_to_rounding(table) -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(50, 10, 40)
    step = rng.normal(0, 1e-7, 40)
    found, _ = scored({"a": table(a), "b": table(a + step), "c": table(a)}, "rougeL", Direction.MAXIMIZE)
    paired = jackknife(found).paired(0)
    assert paired[1] == pytest.approx(step.std(ddof=1) / 40**0.5, rel=1e-4)
    assert paired[0] == paired[2] == 0


def test_parts_give_what_the_whole_gives(by_group, monkeypatch) -> None:
    found, _ = scored(by_group, "chrf", Direction.MAXIMIZE)
    whole = jackknife(found).rows
    monkeypatch.setattr(module, "_CHUNK_NUMBERS", 1000)
    assert jackknife(found).rows == pytest.approx(whole)


def test_one_unit_has_no_error(table) -> None:
    found, _ = scored({"a": table([0.5])}, "rougeL", Direction.MAXIMIZE)
    assert np.isnan(jackknife(found).standard_errors).all()
