"""Sentences and rows on places by other metrics and on quality against cost, which all views share."""

from pathlib import Path

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.trade_offs import MetricRanks, ParetoFront, ParetoPoint
from loratory.spaces.command_line import command

MOST_ROWS = 15
"""Trials in the table of places."""
PLACES = "Places order single values and have no intervals: places next to each other may be chance."


def metric_sentences(report: ComparisonReport) -> list[str]:
    """Return which trials the metrics put first, and whether metrics disagree; nothing with one metric."""
    own, *others = report.ranks_by_metric or (None,)
    if own is None or not others:
        return []
    label = formatting.label(own.metric)
    if all(other.first == own.first for other in others):
        return [f"All {len(others) + 1} metrics put {_first(own)} first."]
    groups: dict[tuple[str, ...], list[MetricRanks]] = {}
    for ranks in (own, *others):
        groups.setdefault(ranks.first, []).append(ranks)
    told = "; ".join(_put_first(group) for group in groups.values())
    outside = [group[0] for group in groups.values() if not group[0].first_may_be_best]
    sentences = [f"Metrics disagree: {told}."]
    if report.findings is None or not report.findings.may_be_best:
        return sentences
    if not outside:
        return [*sentences, f"Each of these may be the best by {label} too."]
    named = _listed([_first(ranks) for ranks in outside])
    are = "is" if len(outside) == 1 and len(outside[0].first) == 1 else "are"
    return [*sentences, f"By {label}, {named} {are} not among those that may be best."]


def rank_heads(report: ComparisonReport) -> list[str]:
    """Return the headings of the table of places."""
    return ["trial", *(formatting.label(ranks.metric) for ranks in report.ranks_by_metric)]


def rank_rows(report: ComparisonReport) -> list[list[str]]:
    """Return the places of the trials that may be the best by each metric, the published trial's else."""
    if len(report.ranks_by_metric) < 2:
        return []
    shown = {trial.key: trial.shown for trial in report.scored}
    keys = list(report.ranks_by_metric[0].ranks)[:MOST_ROWS]
    return [
        [
            f"trial {shown.get(key, key)}",
            *(str(ranks.ranks.get(key, "–")) for ranks in report.ranks_by_metric),
        ]
        for key in keys
    ]


def front_rows(report: ComparisonReport) -> list[list[str]]:
    """Return a row for each cost: its front, cheapest first, or why there is none."""
    return [[front.label, _front(front), front.note] for front in report.pareto_fronts]


def cost_note(report: ComparisonReport, folder: str | Path) -> str:
    """Return what a front says and does not say, with the command that compares two trials.

    Args:
        report: the comparison.
        folder: the study folder as it was given.
    """
    members = report.findings.may_be_best if report.findings else ()
    names = [member.shown for member in members[:2]]
    names += [trial.shown for trial in report.scored if trial.shown not in names]
    answer = f": {command('decide', folder, *names[:2])} answers it" if names[1:] else ""
    return (
        "On a front no other trial is both better and cheaper, by single values. Whether two of its trials "
        f"differ at all is another question{answer}."
    )


def cost_text(front: ParetoFront, point: ParetoPoint) -> str:
    """Return the cost of a point for people."""
    if front.cost == "training_seconds":
        return formatting.duration(point.cost)
    if front.cost.endswith("_bytes"):
        return formatting.size(round(point.cost))
    return formatting.score(point.cost)


def _front(front: ParetoFront) -> str:
    told = [
        f"trial {p.shown} ({cost_text(front, p)}, {formatting.score(p.value)})"
        for p in front.front[-MOST_ROWS:]
    ]
    cheaper = len(front.front) - len(told)
    return ", ".join([*([f"{cheaper} cheaper ones"] if cheaper else []), *told]) or "–"


def _put_first(group: list[MetricRanks]) -> str:
    """Return which trial the metrics of a group put first."""
    names = _listed([formatting.label(ranks.metric) for ranks in group])
    return f"{names} put{'s' * (len(group) == 1)} {_first(group[0])} first"


def _first(ranks: MetricRanks) -> str:
    if len(ranks.first_shown) == 1:
        return f"trial {ranks.first_shown[0]}"
    if len(ranks.first_shown) > 4:
        return f"{len(ranks.first_shown)} equal trials"
    return f"trials {_listed(list(ranks.first_shown))} (equal)"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
