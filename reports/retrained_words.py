"""Words and rows on retrained settings that all views share."""

from typing import Final

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, Retrained, RetrainedSettings
from loratory.reports.findings import Interval

ONE_RUN: Final = "One run each ranks files, not settings."
"""Limit of a ranking of single runs."""

HEADS: Final = (
    *("settings of", "place before", "place after", "single run", "new seeds"),
    *("mean", "sd", "range", "next training"),
)
"""Headings of the table; `retrained_rows` has the cells. A terminal has no room for `new seeds`."""


def retrained_title(retrained: Retrained) -> str:
    """Return what was trained again, such as `Retrained 3 settings on 5 new seeds`."""
    counts = {len(s.runs) + len(s.unscored) for s in retrained.settings}
    fewest, most = min(counts), max(counts)
    seeds = str(most) if fewest == most else f"{fewest} to {most}"
    settings = f"{len(retrained.settings)} setting{'s' * (len(retrained.settings) > 1)}"
    return f"Retrained {settings} on {seeds} new seed{'s' * (most > 1)}"


def retrained_rows(retrained: Retrained) -> list[list[str]]:
    """Return the cells of the table, a row for the settings of each trial."""
    return [_row(settings) for settings in retrained.settings]


def retrained_notes(report: ComparisonReport) -> list[str]:
    """Return sentences on what the table says and does not say."""
    retrained = report.retrained
    if retrained is None:
        return []
    title = f"{retrained_title(retrained)}{', not finished' if retrained.provisional else ''}."
    return [
        f"{ONE_RUN} {title} Their first runs, by which they were chosen, are in no mean here.",
        *_answers(report, retrained),
        f"The next training of the same settings scores within the last column in {retrained.level:.0%} of "
        "such cases (Student's t, from the spread of the new seeds). It allows for the seed alone: on other "
        "examples scores differ too. That does not say which settings are better: on so few seeds no test "
        "can.",
        *_without_score(retrained),
    ]


def _answers(report: ComparisonReport, retrained: Retrained) -> list[str]:
    """Say which settings come first, and that the best file is another's where it is."""
    first, best = retrained.settings[0], report.best
    if best is None or first.mean is None:
        return []
    when = "So far, by" if retrained.provisional else "By"
    told = f"{when} the mean of the new seeds the settings of trial {first.number} come first"
    if first.number == best.number:
        return [f"{told}; trial {best.number} is also first in the search."]
    return [
        f"{told}; first in the search is trial {best.number}. "
        "Which settings and which file are two questions."
    ]


def _without_score(retrained: Retrained) -> list[str]:
    missing = [run for settings in retrained.settings for run in settings.unscored]
    if not missing:
        return []
    named = "; ".join(f"{run.key} ({' '.join(run.reason.split())})" for run in missing)
    return [f"Without a score, and in no mean: {named}."]


def _row(settings: RetrainedSettings) -> list[str]:
    return [
        f"trial {settings.number}",
        _place(settings.rank_before),
        _place(settings.rank_after),
        formatting.score(settings.value_before),
        ", ".join(map(formatting.score, settings.values)) or "–",
        formatting.score(settings.mean),
        formatting.score(settings.sd),
        _between(settings.low, settings.high),
        _interval(settings.next_training),
    ]


def _place(rank: int | None) -> str:
    return "–" if rank is None else str(rank)


def _between(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{formatting.score(low)} – {formatting.score(high)}"


def _interval(found: Interval | None) -> str:
    # As the range beside it: a terminal of 80 columns has no room for brackets.
    return _between(found.low, found.high) if found else "–"
