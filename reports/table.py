"""The comparison in a terminal: what a run prints at its end."""

from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, RankedTrial
from loratory.reports.comparison_rows import ComparisonRow, comparison_rows, metric_names, tie_note


@dataclass(frozen=True, kw_only=True)
class RankingRow:
    """One trial, as text.

    Attributes:
        place: rank, or the state of a trial without a place.
        number: the trial's number.
        value: the study's metric on eval.select.
        gain: over the untuned base.
        params: one a searched parameter.
        note: why it is not ranked.
    """

    place: str
    number: str
    value: str
    gain: str
    params: tuple[str, ...]
    note: str = ""


def ranking_rows(report: ComparisonReport, *, limit: int | None = None) -> list[RankingRow]:
    """The ranked trials, best first, then the others by number; `limit` keeps the first of each."""
    names = [parameter.name for parameter in report.study.parameters]
    return [
        RankingRow(
            place=str(trial.rank) if isinstance(trial, RankedTrial) else formatting.state(trial.state),
            number=str(trial.number),
            value=formatting.score(trial.value if isinstance(trial, RankedTrial) else None),
            gain=formatting.signed(trial.gain if isinstance(trial, RankedTrial) else None),
            params=tuple(formatting.parameter(trial.params.get(name, "–")) for name in names),
            note="" if isinstance(trial, RankedTrial) else " ".join(trial.reason.split()),
        )
        for trial in (*report.ranking[:limit], *report.unranked[:limit])
    ]


def ranking_table(report: ComparisonReport, *, limit: int | None = 20) -> Group:
    """What to print with rich: the trials, why some have no rank, every metric of base, median and best.

    Args:
        report: the comparison.
        limit: how many ranked and how many other trials to show; None shows all.
    """
    rows = ranking_rows(report, limit=limit)
    notes = [Text(f"  trial {row.number}: {row.note}", style="dim") for row in rows if row.note]
    if tie := tie_note(report):
        notes.insert(0, Text(f"  {tie}"))
    models = _models(report)
    return Group(_trials(report, limit), *notes, *([models] if models.row_count else []))


def _trials(report: ComparisonReport, limit: int | None) -> Table:
    # Text everywhere, not markup: brackets in a name are not a style.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", title_style="bold")
    table.title = Text(f"{report.study.name}: {formatting.counts(report.counts)}")
    table.add_column(Text("place"), no_wrap=True)
    # Long names break, and where that is not enough, only a categorical's text: numbers are never cut.
    for name in ("trial", formatting.label(report.study.metric), "over base"):
        table.add_column(_broken(name), justify="right", no_wrap=True)
    for parameter in report.study.parameters:
        whole = parameter.kind != "categorical"
        table.add_column(_broken(parameter.name), justify="right", no_wrap=whole, overflow="fold")
    for index, row in enumerate(ranking_rows(report, limit=limit)):
        cells = (row.place, row.number, row.value, row.gain, *row.params)
        first = index == 0 and report.best is not None
        table.add_row(
            *map(Text, cells), style="bold green" if first else "" if row.place.isdigit() else "dim"
        )
    hidden = sum(max(0, len(t) - limit) for t in (report.ranking, report.unranked)) if limit else 0
    table.caption = f"{hidden} more in trials.csv" if hidden else None
    return table


def _broken(name: str) -> Text:
    return Text(name.replace("_", "_\n").replace(" ", "\n"))


def _models(report: ComparisonReport) -> Table:
    # Metrics down, models across: there are at most five models, and a terminal has 80 columns.
    rows: list[ComparisonRow] = comparison_rows(report)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(Text("metric"), no_wrap=True)
    for row in rows:
        table.add_column(Text(f"{row.model}\non {row.split}"), justify="right")
    for name in metric_names(report) if rows else ():
        cells = (formatting.score(row.metrics.get(name)) for row in rows)
        table.add_row(Text(formatting.label(name)), *map(Text, cells))
    return table
