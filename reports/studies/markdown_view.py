"""The comparison of studies as Markdown."""

from loratory.reports import formatting
from loratory.reports.markdown import code, escaped, table
from loratory.reports.studies.studies_report import ComparedPart, StudiesReport
from loratory.reports.studies.words import (
    DIFFERENCE_HEADS,
    LIMIT,
    TIMES,
    difference_rows,
    fact_rows,
    part_note,
    value_heads,
    value_rows,
)
from loratory.reports.visible import visible


def studies_markdown(report: StudiesReport) -> str:
    """Return the comparison of studies as Markdown."""
    labels = [study.label for study in report.studies]
    parts = [f"# {escaped(', '.join(labels))}"]
    parts += [f"**{escaped(report.verdict[0])}**", *map(escaped, report.verdict[1:]), escaped(LIMIT)]
    parts += ["\n".join(f"- {escaped(note)}" for note in report.notes)] if report.notes else []
    for part in report.parts:
        parts += _part(report, part)
    parts += ["## What was compared, and what it took"]
    parts += [table(["study", *labels], fact_rows(report), text_columns=len(labels) + 1), TIMES]
    if report.signature:
        parts += [f"{formatting.label(report.metric)} is computed as {code(report.signature)}."]
    parts += ["\n".join(f"- {escaped(study.label)}: {code(study.folder)}" for study in report.studies)]
    return visible("\n\n".join(parts)) + "\n"


def _part(report: StudiesReport, part: ComparedPart) -> list[str]:
    return [
        f"## On {part.split}",
        table(value_heads(report, part), value_rows(report, part), text_columns=1),
        table(DIFFERENCE_HEADS, difference_rows(part), text_columns=1),
        part_note(part),
    ]
