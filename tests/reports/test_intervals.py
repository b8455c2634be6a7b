import numpy as np
import pytest

from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import BASE, StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.findings import Interval
from loratory.reports.interval_words import interval_notes
from loratory.reports.intervals import GAIN, intervals
from loratory.spaces.metric_names import Direction


def table(values, *, metric="rougeL", groups=None) -> ScoreTable:
    scores = np.array(values, dtype=np.float64)
    ids = tuple(f"e{i}" for i in range(len(scores)))
    return ScoreTable(
        example_ids=ids,
        groups=tuple(groups or ids),
        metrics={metric: scores},
        statistics={},
        signatures={},
        aggregate={metric: float(scores.mean())},
    )


def normal(seed: int, count: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 0.1, count)


def test_a_gain_is_paired_over_the_units() -> None:
    base = normal(0)
    better = base + 0.1 + normal(1) * 0.01
    tables = {BASE: table(base), "0000": table(better)}
    found = intervals(tables, {k: ["rougeL"] for k in tables}, "rougeL", Direction.MAXIMIZE, base=BASE)
    difference = better - base
    half = 1.984217 * difference.std(ddof=1) / 10
    assert found.gains["0000"].high - found.gains["0000"].low == pytest.approx(2 * half, rel=1e-5)
    own = found.of["0000"]["rougeL"]
    assert found.gains["0000"].high - found.gains["0000"].low < (own.high - own.low) / 5
    assert found.missing == {BASE: {}, "0000": {}}


def test_a_gain_is_positive_where_a_minimised_metric_is_lower() -> None:
    tables = {
        BASE: table(normal(0), metric="loss"),
        "0000": table(normal(0) - 0.2 + normal(1) / 50, metric="loss"),
    }
    found = intervals(tables, {k: ["loss"] for k in tables}, "loss", Direction.MINIMIZE, base=BASE)
    assert found.gains["0000"].low > 0
    assert found.of["0000"]["loss"].high < found.of[BASE]["loss"].low


def test_no_interval_of_a_metric_goes_below_zero() -> None:
    tables = {BASE: table([0.0] * 20 + [0.9]), "0000": table([0.0] * 19 + [0.3, 0.9])}
    found = intervals(tables, {k: ["rougeL"] for k in tables}, "rougeL", Direction.MAXIMIZE, base=BASE)
    assert found.of[BASE]["rougeL"].low == 0.0 < found.of[BASE]["rougeL"].high
    assert found.gains["0000"].low < 0  # a difference may


def test_what_has_no_interval_says_why() -> None:
    alike = np.full(100, 0.25)
    tables = {BASE: table(normal(0)), "0000": table(alike), "0001": table(normal(1, 50))}
    shown = {key: ["rougeL", "bleu"] for key in (*tables, "0002")}
    found = intervals(tables, shown, "rougeL", Direction.MAXIMIZE, base=BASE)
    assert found.missing["0000"]["rougeL"] == "every example scores alike, which says nothing about chance"
    assert found.missing["0000"]["bleu"] == "its scores have no bleu"
    assert found.missing["0001"] == {
        "rougeL": "its scores are of other examples",
        "bleu": "its scores have no bleu",
        GAIN: "its scores are of other examples",
    }
    assert set(found.missing["0002"]) == {"rougeL", "bleu", GAIN}
    assert "0000" in found.gains and "rougeL" in found.of[BASE]


def test_without_a_base_there_is_no_gain_to_miss() -> None:
    tables = {"0000": table(normal(0))}
    found = intervals(tables, {"0000": ["rougeL"]}, "rougeL", Direction.MAXIMIZE)
    assert found.gains == {} and found.missing == {"0000": {}}


def test_the_picked_trial_has_the_interval_of_a_picked_one(quickstart: StudyFolder) -> None:
    report = compare(quickstart)
    (picked,) = [trial for trial in report.ranking if trial.picked]
    assert report.findings is not None and report.findings.optimism is not None
    assert (picked.key, picked.interval) == (report.findings.picked, report.findings.interval)
    fixed = picked.intervals["rougeL"]
    assert picked.interval is not None
    assert picked.interval.high == pytest.approx(fixed.high - report.findings.optimism)
    for other in report.ranking[1:6]:
        assert other.interval == other.intervals["rougeL"]
    assert picked.gain_interval is not None and picked.gain is not None
    middle = (picked.gain_interval.low + picked.gain_interval.high) / 2
    assert middle == pytest.approx(picked.gain - report.findings.optimism)
    notes = " ".join(interval_notes(report))
    assert "Trial 11 was picked for its value, which is therefore 0.0070 too good on average" in notes


def test_groups_are_the_units_however_few_they_are(quickstart: StudyFolder) -> None:
    report = compare(quickstart)
    assert report.uncertainty is not None
    assert (report.uncertainty.unit, report.uncertainty.units, report.uncertainty.examples) == (
        "group",
        30,
        150,
    )
    assert all(isinstance(scores.interval, Interval) for scores in report.test)


def test_every_number_has_its_interval_or_says_why(study: StudyFolder) -> None:
    report = compare(study)
    for model in (*report.ranking, *report.test, report.base):
        assert model is not None
        for name in model.metrics:
            assert (name in model.intervals) != (name in model.no_interval)
    for trial in report.ranking:
        assert (trial.gain_interval is None) == ("gain" in trial.no_interval)
