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
            value, chose = found.metrics[report.study.metric], False
            if split == "confirm" and trial is report.winner and report.choice is not None:
                chose = len(report.choice.candidates) > 1
                value = value if report.choice.expected is None else report.choice.expected
            told = _Value(split, value, found.interval, found.gain, found.gain_interval, chose)
            return _sentence(report, trial, told)
    optimism = report.findings.optimism if report.findings and trial.picked else None
    down = optimism or 0.0
    better = 1 if report.study.direction is Direction.MAXIMIZE else -1
    gain = None if trial.gain is None else trial.gain - down
    chose = trial.picked and bool(optimism)
    value = trial.value - better * down
    return _sentence(report, trial, _Value("select", value, trial.interval, gain, trial.gain_interval, chose))


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
    """A score on a split, and whether what the choice by the split adds was taken off."""

    split: str
    value: float
    interval: Interval | None
    gain: float | None
    gain_interval: Interval | None
    chose: bool


def _is(scores: Scores, split: str, trial: ScoredTrial) -> bool:
    return scores.split == split and scores.trial == trial.key


def _sentence(report: ComparisonReport, trial: ScoredTrial, found: _Value) -> str:
    less = ", less what that adds" if found.chose else ""
    return (
        f"{formatting.label(report.study.metric)} on `{found.split}`, "
        f"{_part(found.split, published=trial is report.winner)}{less}: "
        f"**{formatting.score(found.value)}**{_within(found.interval)}{_against_base(found)}."
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
