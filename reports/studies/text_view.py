"""The comparison of studies for the terminal."""

from collections.abc import Sequence

from loratory.reports.studies.studies_report import StudiesReport
from loratory.reports.studies.words import DIFFERENCE_HEADS, LIMIT, TIMES, difference_rows, fact_rows
from loratory.reports.visible import visible

COLUMNS = 80
"""Widest table; what is wider has a line for each cell."""


def studies_text(report: StudiesReport) -> str:
    """Return the verdict, the differences and the facts of each study as lines."""
    lines = [*report.verdict, *report.notes, LIMIT]
    if len(report.studies) > 2:
        for part in report.parts:
            lines += ["", *_table([[f"on {part.split}", *DIFFERENCE_HEADS[1:]], *difference_rows(part)])]
    heads = ["", *(study.label for study in report.studies)]
    lines += ["", *_table([heads, *(row for row in fact_rows(report) if row[0] != "its values")]), TIMES]
    return visible("\n".join(lines))


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > COLUMNS:
        return _cells(rows)
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _cells(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for the first cell of each row, and one for each other with its heading."""
    (corner, *heads), *rest = rows
    lines = [corner] if corner else []
    for first, *others in rest:
        lines += [first, *(f"  {head}: {cell}" for head, cell in zip(heads, others, strict=True))]
    return lines
