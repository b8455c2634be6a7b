"""Sentences on intervals that all views share: how they are computed, and why a number has none."""

from collections.abc import Iterable

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, ScoredTrial, Scores

_MOST_NAMED = 6
SINGLE_TRAININGS = "Values of single trainings have their intervals over examples in report.json."
DEV = "Values on eval.dev have no intervals: no scores per example are kept of them."


def interval_notes(report: ComparisonReport) -> list[str]:
    """Return sentences on the intervals of the ranking; the reasons for those that are missing come last."""
    return [*interval_method(report), *(_missing(report) if report.uncertainty else ())]


def interval_method(report: ComparisonReport) -> list[str]:
    """Return sentences on how intervals are computed, and on those that allow for a choice."""
    how = report.uncertainty
    if how is None:
        return ["No interval: no trial has scores per example, so nothing tells how sure these values are."]
    units = f"{how.units:,} {how.unit}s" if how.units != 1 else f"1 {how.unit}"
    found = [
        f"Intervals: {how.level:.0%}, over {units}, each trial as if it had been named before it was scored "
        "(docs/statistics.md). They do not say which trials are tied: the set of those that may be best does."
    ]
    if picked := next((trial for trial in report.scored if trial.picked and trial.interval), None):
        optimism = report.findings.optimism if report.findings else None
        by = ""
        if optimism:
            by = f", which is therefore {formatting.score(optimism)} too good on average, as is its gain"
        found.append(f"Trial {picked.shown} was picked for its value{by}: its intervals are less that.")
    choice = report.choice
    if choice is not None and len(choice.candidates) > 1 and choice.interval and report.winner:
        by = f" (some {formatting.score(choice.optimism)})" if choice.optimism and choice.optimism > 0 else ""
        found.append(
            f"On eval.confirm trial {report.winner.shown} is one of {len(choice.candidates)}: its interval "
            f"there is less what the choice among them adds{by}."
        )
    return [*found, *how.cautions]


def _missing(report: ComparisonReport) -> list[str]:
    """Return a sentence for each reason why numbers have no interval, with the models and metrics."""
    models: dict[str, dict[str, None]] = {}
    metrics: dict[str, dict[str, None]] = {}
    for name, model in _named(report):
        for metric, why in model.no_interval.items():
            models.setdefault(why, {})[name] = None
            label = "the gain over the base" if metric == "gain" else formatting.label(metric)
            metrics.setdefault(why, {})[label] = None
    return [f"No interval of {_listed(metrics[why])} for {_listed(models[why])}: {why}." for why in models]


def _named(report: ComparisonReport) -> Iterable[tuple[str, ScoredTrial | Scores]]:
    for trial in report.scored:
        yield f"trial {trial.shown}", trial
    for scores in (*([report.base] if report.base else []), *report.confirm, *report.test):
        who = "the base" if scores.shown is None else f"trial {scores.shown}"
        yield (who if scores.split == "select" else f"{who} on {scores.split}"), scores


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    if len(every) > _MOST_NAMED:
        every[_MOST_NAMED - 1 :] = [f"{len(every) - _MOST_NAMED + 1} more"]
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"
