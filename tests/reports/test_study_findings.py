import math
from dataclasses import replace

import pytest

from loratory.objectives.study_folder import BASE, TEST_BASE, TEST_WINNER
from loratory.reports.comparison import compare
from loratory.reports.further_trials import Search
from loratory.reports.score_files import read_table
from loratory.reports.study_findings import Measure, Pair, study_findings
from loratory.reports.verdict import verdict
from loratory.spaces.metric_names import Direction
from loratory.spaces.samplers import SamplerName

MEASURE = Measure("rougeL", Direction.MAXIMIZE, 0)
SEARCH = Search(SamplerName.TPE, tried=12)


@pytest.fixture
def ranking(quickstart):
    return compare(quickstart).ranking


@pytest.fixture
def findings(quickstart, ranking, by_group):
    pairs = {
        "select": Pair(by_group["0011"], read_table(quickstart.score(BASE))),
        "test": Pair(read_table(quickstart.score(TEST_WINNER)), read_table(quickstart.score(TEST_BASE))),
    }
    return study_findings(ranking, by_group, MEASURE, published="0011", against_base=pairs, search=SEARCH)


def test_findings_of_a_kept_study(findings):
    assert [member.shown for member in findings.may_be_best] == ["11", "8", "6", "9"]
    assert 0.088 <= findings.shortfall / findings.value <= 0.1
    five, ten = findings.cheapest_within
    assert five.key is None
    assert five.examples_needed["0008"] == pytest.approx(670, rel=0.02)
    assert ten.shown == "8"
    assert (findings.unit, findings.units, findings.examples) == ("group", 30, 150)
    assert 0 < findings.optimism < 0.05 * findings.value
    assert findings.interval.low < findings.value - findings.optimism < findings.interval.high
    select, test = findings.gains
    assert test.gain == pytest.approx(0.167, abs=5e-4)
    assert test.interval.low == pytest.approx(0.13, abs=5e-3)
    assert select.gain > test.gain
    assert not findings.left_out


def test_differences_are_paired_and_seen_from_the_published_trial(findings):
    published, eighth, *_ = findings.may_be_best
    assert (published.behind, published.behind_interval) == (0, None)
    assert eighth.behind == pytest.approx(published.value - eighth.value)
    assert eighth.behind_interval.low < eighth.behind < eighth.behind_interval.high


def test_verdict_of_a_kept_study(findings):
    assert verdict(findings)[0] == "Trials 11, 8, 6 and 9 may be best."
    assert verdict(findings)[2] == "On test: +0.1665 [0.1296, 0.2034] over the base."


def test_what_has_no_scores_is_named(ranking, by_group):
    tables = {key: table for key, table in by_group.items() if key != "0006"}
    bad = tables["0009"].metrics["rougeL"].copy()
    bad[0] = math.nan
    tables["0009"] = replace(tables["0009"], metrics={"rougeL": bad}, statistics={})
    found = study_findings(ranking, tables, MEASURE, published="0011", against_base={}, search=SEARCH)
    assert set(found.left_out) == {"0006", "0009"}
    assert [member.shown for member in found.may_be_best] == ["11", "8"]
    nothing = study_findings(ranking, {}, MEASURE, published="0011", against_base={}, search=SEARCH)
    assert nothing.unit is None
    assert len(nothing.left_out) == len(ranking)
    assert study_findings((), {}, MEASURE, published="", against_base={}, search=SEARCH) is None


def test_one_group_has_no_interval(ranking, by_group):
    tables = {key: replace(t, groups=("one",) * len(t.groups)) for key, t in by_group.items()}
    pairs = {"select": Pair(tables["0011"], tables["0008"])}
    found = study_findings(ranking, tables, MEASURE, published="0011", against_base=pairs, search=SEARCH)
    assert (found.unit, found.units, found.interval, found.shortfall) == ("group", 1, None, None)
    assert found.gains[0].interval is None
    assert all(member.behind_interval is None for member in found.may_be_best)
