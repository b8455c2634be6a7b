"""The part of a model card that says how good the adapter is, and how sure that is."""

from typing import NamedTuple

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, ScoredTrial, Scores
from loratory.reports.comparison_rows import choice_line, picked_line
from loratory.reports.findings import Gain, Interval
from loratory.reports.markdown import escaped
from loratory.reports.verdict import looks_line
from loratory.spaces.metric_names import Direction

_PART = {
    "test": "which had no part in the choice",
    "confirm": "which chose it together with `select`",
}


def headline(report: ComparisonReport, trial: ScoredTrial) -> str:
    """Return the score on the split that flatters least, with the gain over the base and its interval.

    Args:
        report: the study's comparison.
        trial: the trial with the published adapter.
    """
    metric, own = report.study.metric, (*report.test, *report.confirm)
    for split in ("test", "confirm"):
        found = next((s for s in own if s.split == split and s.trial == trial.key), None)
        if found is not None and metric in found.metrics:
            value = _Value(split, found.metrics[metric], found.interval)
            return _sentence(report, trial, value, _base(own, split))
    # That of the winner, without what being picked adds to its score, is among what the verdict says.
    interval = None if trial is report.winner else trial.interval
    return _sentence(report, trial, _Value("select", trial.value, interval), report.base)


def verdict_section(report: ComparisonReport, trial: ScoredTrial) -> str:
    """Return a list of what the study found of its choice, and which split chose.

    Args:
        report: the study's comparison.
        trial: the trial with the published adapter.
    """
    lines = [*report.verdict, choice_line(report), picked_line(report.choice, report.findings)]
    told = "\n".join(f"- {escaped(line)}" for line in lines if line)
    winner = report.winner
    if winner is None or winner is trial:
        return told
    return (
        f"This is trial {trial.shown}; where nobody names another, the study publishes trial {winner.shown}, "
        f"of which it says:\n\n{told}"
    )


def looks_at_test(report: ComparisonReport) -> str:
    """Return how often `test` was scored."""
    looks = looks_line(report.findings) if report.findings else ""
    return looks or "`test` is scored once, for the winner and the base."


class _Value(NamedTuple):
    split: str
    value: float
    interval: Interval | None


def _sentence(report: ComparisonReport, trial: ScoredTrial, found: _Value, base: Scores | None) -> str:
    chosen = "which ranked it" if trial is not report.winner else "by which it was chosen"
    return (
        f"{formatting.label(report.study.metric)} on `{found.split}`, {_PART.get(found.split, chosen)}: "
        f"**{formatting.score(found.value)}**{_within(found.interval)}"
        f"{_against_base(report, trial, found.split, found.value, base)}."
    )


def _within(ends: Interval | None) -> str:
    return f" [{formatting.score(ends.low)}, {formatting.score(ends.high)}]" if ends else ""


def _against_base(
    report: ComparisonReport, trial: ScoredTrial, split: str, value: float, base: Scores | None
) -> str:
    known = _gain(report, split) if trial is report.winner else None
    if known is not None:
        why = "" if known.interval else " (no interval: one unit alone)"
        return f", {formatting.signed(known.gain)}{_within(known.interval)} against the untuned base{why}"
    of_base = base.metrics.get(report.study.metric) if base else None
    if of_base is None:
        return ""
    gain = value - of_base if report.study.direction is Direction.MAXIMIZE else of_base - value
    return f", {formatting.signed(gain)} against the untuned base (no interval: not compared by example)"


def _gain(report: ComparisonReport, split: str) -> Gain | None:
    gains = report.findings.gains if report.findings else ()
    return next((gain for gain in gains if gain.split == split), None)


def _base(scores: tuple[Scores, ...], split: str) -> Scores | None:
    return next((s for s in scores if s.split == split and s.shown is None), None)
