"""The comparison for the terminal, printed at the end of a run."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loratory.reports import formatting
from loratory.reports.columns import PARAMETER, View, columns
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.comparison_rows import (
    ComparisonRow,
    choice_line,
    comparison_rows,
    metric_names,
    picked_line,
    tie_note,
)
from loratory.reports.retrained_words import HEADS, retrained_notes, retrained_rows, retrained_title
from loratory.reports.visible import LONGEST, one_line

_NO_INTERVALS = "Single values have their intervals in report.html and trials.csv: 80 columns have no room."


def ranking_rows(report: ComparisonReport, *, limit: int | None = None) -> list[dict[str, str]]:
    """Return the texts of each trial by column: ranked trials best first, then the others by number.

    Args:
        report: the comparison.
        limit: how many ranked and how many other trials to return; None returns all.
    """
    shown = columns(report, View.TERMINAL)
    trials = (*report.ranking[:limit], *report.unranked[:limit])
    return [{column.name: column.text(trial) for column in shown} for trial in trials]


def ranking_table(report: ComparisonReport, *, limit: int | None = 20) -> Group:
    """Return tables for rich: trials, reasons of unranked trials, all metrics of base, median and best.

    Args:
        report: the comparison.
        limit: how many ranked and how many other trials to show; None shows all.
    """
    told = [trial for trial in report.unranked if trial.attempt]
    reasons = ((trial.number, one_line(trial.reason)) for trial in told[:limit])
    notes = [Text(f"  trial {number}: {reason}", style="dim") for number, reason in reasons if reason]
    if left_out := formatting.never_started(report.never_started):
        notes.append(Text(f"  {left_out}", style="dim"))
    if tie := tie_note(report):
        notes.insert(0, Text(f"  {tie}"))
    if picked := picked_line(report.choice, report.findings):
        notes.insert(0, Text(f"  {picked}"))
    if chosen := choice_line(report):
        notes.insert(0, Text(f"  {chosen}"))
    notes[:0] = [Text(f"  {sentence}") for sentence in report.verdict]
    if report.uncertainty is not None:
        notes.append(Text(f"  {_NO_INTERVALS}", style="dim"))
    models = _models(report)
    tables = [models] if models.row_count else []
    return Group(_trials(report, limit), *notes, *_retrained(report), *tables)


def _retrained(report: ComparisonReport) -> list[RenderableType]:
    """Return the table of retrained settings and its notes; nothing where none were."""
    if report.retrained is None:
        return []
    # Without the values of each seed and spaces in ranges: a terminal has 80 columns.
    shown = [place for place, head in enumerate(HEADS) if head != "new seeds"]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left")
    table.title, table.title_style = Text(retrained_title(report.retrained)), "bold"
    for place in shown:
        table.add_column(_broken(HEADS[place]), justify="right" if place else "left", no_wrap=True)
    for index, row in enumerate(retrained_rows(report.retrained)):
        table.add_row(
            *(Text(row[place].replace(" – ", "–")) for place in shown), style="" if index else "bold green"
        )
    return [table, *(Text(f"  {one_line(note, LONGEST)}") for note in retrained_notes(report))]


def _trials(report: ComparisonReport, limit: int | None) -> Table:
    # `Text`, because rich reads brackets in a plain string as markup.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", title_style="bold")
    table.title = Text(f"{one_line(report.study.name)}: {formatting.counts(report.counts)}")
    for column in columns(report, View.TERMINAL):
        # Long names break; if that is not enough, categorical values break. Numbers are never cut.
        table.add_column(
            _broken(column.label),
            justify="left" if column.name == "rank" else "right",
            no_wrap=not column.wraps,
            overflow="fold" if column.name.startswith(PARAMETER) else "ellipsis",
        )
    for index, row in enumerate(ranking_rows(report, limit=limit)):
        first = index == 0 and report.best is not None
        style = "bold green" if first else "" if row["rank"].isdigit() else "dim"
        table.add_row(*map(Text, row.values()), style=style)
    hidden = sum(max(0, len(t) - limit) for t in (report.ranking, report.unranked)) if limit else 0
    table.caption = f"{hidden} more in trials.csv" if hidden else None
    return table


def _broken(name: str) -> Text:
    return Text(one_line(name).replace("_", "_\n").replace(" ", "\n"))


def _models(report: ComparisonReport) -> Table:
    # Metrics are rows: a terminal has 80 columns.
    rows: list[ComparisonRow] = [row for row in comparison_rows(report) if not _is_other_look(report, row)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(Text("metric"), no_wrap=True)
    for row in rows:
        table.add_column(Text(f"{row.model}\non {row.split}"), justify="right")
    for name in metric_names(report) if rows else ():
        cells = (formatting.score(row.metrics.get(name)) for row in rows)
        table.add_row(Text(formatting.label(name)), *map(Text, cells))
    return table


def _is_other_look(report: ComparisonReport, row: ComparisonRow) -> bool:
    """Return whether a row is another trial's on test, where the published one has its own."""
    looks = [scores.shown for scores in report.test if scores.shown is not None]
    if report.winner is None or report.winner.shown not in looks:
        return False
    return row.split == "test" and row.model in {f"trial {name}" for name in looks} - {
        f"trial {report.winner.shown}"
    }
