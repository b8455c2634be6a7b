"""The gain over the base is less what the choice by a split adds, and the same in every view."""

import math

import pytest

from loratory.objectives.study_folder import CONFIRM_BASE, confirm_key
from loratory.reports import formatting
from loratory.reports.card_verdict import headline
from loratory.reports.comparison import compare
from loratory.reports.comparison_rows import best_line, comparison_rows
from loratory.reports.findings import Gain, Interval
from loratory.reports.html_view import html_report
from loratory.reports.interval_words import interval_notes
from loratory.reports.markdown_view import markdown_report
from loratory.reports.score_files import read_scoring
from loratory.reports.study_findings import less_optimism
from loratory.reports.study_verdict import study_verdict, verdict_of
from loratory.reports.trackers.conclusion import read_conclusion
from loratory.reports.verdict import chose_words
from loratory.reports.verdict_file import write_verdict


@pytest.fixture
def confirmed(plain_study):
    """Trial 0 is best on select; 1 is chosen by select and confirm, among these two."""
    return plain_study("one", {0: 0.52, 1: 0.5, 2: 0.3}, confirm={None: 0.1, 0: 0.5, 1: 0.525})


def ends(interval):
    return f"[{formatting.score(interval.low)}, {formatting.score(interval.high)}]"


def test_on_confirm_that_chose_it_is_less_the_optimism_in_every_view(confirmed):
    report = compare(confirmed)
    (gain,) = report.findings.gains
    raw, base = (read_scoring(confirmed, key) for key in (confirm_key("0001"), CONFIRM_BASE))
    difference = raw.metrics["rougeL"] - base.metrics["rougeL"]
    assert report.choice.candidates == ("0000", "0001") and report.choice.optimism > 0
    assert (gain.split, gain.chose, gain.optimism) == ("confirm", True, report.choice.optimism)
    assert gain.gain == pytest.approx(difference.mean() - report.choice.optimism)
    groups = difference.reshape(30, 2).mean(axis=1)
    half = 2.0452 * groups.std(ddof=1) / math.sqrt(30)
    assert gain.interval.high - gain.gain == pytest.approx(half, rel=1e-3)

    told = f"{formatting.signed(gain.gain)} {ends(gain.interval)}"
    sentence = f"On confirm, less what the choice by it adds: {told} over the base."
    assert sentence in report.verdict
    assert study_verdict(confirmed).verdict == report.verdict == verdict_of(report).verdict
    card = headline(report, report.winner)
    assert f"**{raw.aggregate['rougeL']:.4f}**; less what that adds {report.choice.expected:.4f}" in card
    assert f"{ends(report.choice.interval)}, {told} against the untuned base." in card
    (row,) = [scores for scores in report.confirm if scores.trial == "0001"]
    assert row.gain == pytest.approx(gain.gain)
    assert (row.gain_interval.low, row.gain_interval.high) == pytest.approx(
        (gain.interval.low, gain.interval.high)
    )
    assert row.interval == report.choice.interval
    write_verdict(confirmed, verdict_of(report))
    entries = read_conclusion(confirmed, "0001").entries
    assert entries["confirm/gain"] == gain.gain and entries["confirm/gain_low"] == gain.interval.low


def test_the_table_and_the_page_have_one_interval_on_confirm(confirmed):
    report = compare(confirmed)
    rows = [row for row in comparison_rows(report) if (row.model, row.split) == ("trial 1", "confirm")]
    assert [row.intervals["rougeL"] for row in rows] == [report.choice.interval]
    assert "<dt>trial 1 on confirm, less what its choice adds</dt>" in html_report(report)
    assert any("On eval.confirm trial 1 is one of 2" in note for note in interval_notes(report))


def test_on_select_nothing_is_told_of_a_trial_that_confirm_chose(confirmed):
    assert [gain.split for gain in compare(confirmed).findings.gains] == ["confirm"]


def test_the_card_of_another_trial_does_not_say_that_confirm_chose_it(confirmed):
    report = compare(confirmed)
    other = next(trial for trial in report.ranking if trial.number == 0)
    card = headline(report, other)
    assert "on `confirm`, on which the study chose another trial: **0.50" in card
    (row,) = [scores for scores in report.confirm if scores.trial == "0000"]
    assert f"{formatting.signed(row.gain)} {ends(row.gain_interval)} against the untuned base." in card
    assert "less what" not in card


def test_on_select_that_picked_it_is_less_the_optimism_in_every_view(plain_study):
    folder = plain_study("plain", {0: 0.52, 1: 0.51, 2: 0.5})
    report = compare(folder)
    (gain,), best = report.findings.gains, report.best
    assert gain.optimism == report.findings.optimism > 0 and gain.chose
    assert gain.gain == pytest.approx(best.gain - gain.optimism)
    assert gain.interval.low == pytest.approx(best.gain_interval.low)
    told = f"{formatting.signed(gain.gain)} {ends(gain.interval)}"
    line = best_line(report)
    assert f"; less what being picked adds, {told}, better than the untuned base." in line
    assert line in markdown_report(report) and line in html_report(report)
    card = headline(report, report.winner)
    assert f"by which it was chosen: **{best.value:.4f}**; less what that adds" in card
    assert f"{told} against the untuned base." in card


def test_a_choice_whose_flattery_nothing_tells_has_no_interval_and_says_so():
    plain = Gain(split="confirm", gain=0.2, interval=Interval(low=0.1, high=0.3))
    found = less_optimism(plain, None)
    assert (found.gain, found.interval, found.chose) == (0.2, None, True)
    assert chose_words(found) == ", which had a say in the choice and flatters it"
    assert chose_words(plain) == ""


def test_a_best_trial_without_a_base_has_no_gain_in_its_line(plain_study):
    report = compare(plain_study("plain", {0: 0.5}))
    best = report.ranking[0].model_copy(update={"gain": None})
    assert best_line(report.model_copy(update={"ranking": (best,)})).endswith("on eval.select.")
