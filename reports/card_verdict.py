"""The part of a model card that says how good the adapter is, and how sure that is."""

from typing import NamedTuple

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, ScoredTrial, Scores
from loratory.reports.comparison_rows import choice_line, picked_line
from loratory.reports.findings import Interval
from loratory.reports.markdown import escaped
from loratory.reports.verdict import looks_line
from loratory.spaces.metric_names import Direction


def headline(report: ComparisonReport, trial: ScoredTrial) -> str:
    """Return the score on the split that flatters least, with the gain over the base and its interval.

    On a split that chose the adapter both are less what that adds, as in the verdict.

    Args:
        report: the study's comparison.
        trial: the trial with the published adapter.
    """
    for split in ("test", "confirm"):
        found = next((s for s in (*report.test, *report.confirm) if _is(s, split, trial)), None)
        if found is not None and report.study.metric in found.metrics:
            expected = _expected(report, trial) if split == "confirm" else None
            value = found.metrics[report.study.metric]
            told = _Value(split, value, expected, found.interval, found.gain, found.gain_interval)
            return _sentence(report, trial, told)
    return _sentence(report, trial, _on_select(report, trial))


def _expected(report: ComparisonReport, trial: ScoredTrial) -> float | None:
    """Return the published trial's value on confirm less what its choice among several adds."""
    choice = report.choice
    return choice.expected if choice and trial is report.winner and len(choice.candidates) > 1 else None


def _on_select(report: ComparisonReport, trial: ScoredTrial) -> "_Value":
    optimism = report.findings.optimism if report.findings and trial.picked else None
    if not optimism:
        return _Value("select", trial.value, None, trial.interval, trial.gain, trial.gain_interval)
    down = optimism if report.study.direction is Direction.MAXIMIZE else -optimism
    gain = None if trial.gain is None else trial.gain - optimism
    return _Value("select", trial.value, trial.value - down, trial.interval, gain, trial.gain_interval)


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
    """A score on a split: as it is; less what the choice by the split adds, where it chose; and its gain."""

    split: str
    value: float
    expected: float | None
    interval: Interval | None
    gain: float | None
    gain_interval: Interval | None


def _is(scores: Scores, split: str, trial: ScoredTrial) -> bool:
    return scores.split == split and scores.trial == trial.key


def _sentence(report: ComparisonReport, trial: ScoredTrial, found: _Value) -> str:
    less = "" if found.expected is None else f"; less what that adds {formatting.score(found.expected)}"
    return (
        f"{formatting.label(report.study.metric)} on `{found.split}`, "
        f"{_part(found.split, published=trial is report.winner)}: "
        f"**{formatting.score(found.value)}**{less}{_within(found.interval)}{_against_base(found)}."
    )


def _part(split: str, *, published: bool) -> str:
    """Return what a split had to do with the choice of an adapter."""
    if split == "test":
        return "which had no part in the choice"
    if split == "confirm":
        return (
            "which chose it together with `select`" if published else "on which the study chose another trial"
        )
    return "by which it was chosen" if published else "which ranked it"


def _within(ends: Interval | None) -> str:
    return f" [{formatting.score(ends.low)}, {formatting.score(ends.high)}]" if ends else ""


def _against_base(found: _Value) -> str:
    if found.gain is None:
        return ""
    why = "" if found.gain_interval else " (no interval: not compared by example)"
    return f", {formatting.signed(found.gain)}{_within(found.gain_interval)} against the untuned base{why}"
