"""The comparison of studies as one HTML page without scripts, which loads nothing from outside."""

from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from loratory.reports import formatting
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

_TEMPLATES = Path(__file__).parents[1] / "templates"
_MARGIN = 0.06  # of the plot's width, on either side


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A difference with its interval as places in the plot's width, in percent from the left.

    Attributes:
        label: what is compared.
        text: the numbers, for readers without the plot.
        zero: place of no difference.
        low: place of the interval's lower end.
        width: width of the interval.
        at: place of the difference.
    """

    label: str
    text: str
    zero: float
    low: float
    width: float
    at: float


def studies_html(report: StudiesReport) -> str:
    """Return the comparison of studies as an HTML page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.get_template("studies.html").render(
        report=report,
        metric=formatting.label(report.metric),
        labels=[study.label for study in report.studies],
        limit=LIMIT,
        times=TIMES,
        difference_heads=DIFFERENCE_HEADS,
        facts=fact_rows(report),
        parts=[
            {
                "split": part.split,
                "note": part_note(part),
                "heads": value_heads(report, part),
                "values": value_rows(report, part),
                "differences": difference_rows(part),
                "bars": bars(part),
            }
            for part in report.parts
        ],
        # Files of this package and not data: escaping would break them.
        css=Markup(
            "\n".join((_TEMPLATES / name).read_text("utf-8") for name in ("report.css", "studies.css"))
        ),
    )


def bars(part: ComparedPart) -> list[Bar]:
    """Return the differences that have an interval on one scale, which holds zero and all of them."""
    drawn = [
        (row, found.gain, found.interval)
        for row, found in zip(difference_rows(part), part.differences, strict=True)
        if found.interval is not None
    ]
    ends = [0.0, *(end for _, _, interval in drawn for end in (interval.low, interval.high))]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def place(value: float) -> float:
        return 100 * (_MARGIN + (1 - 2 * _MARGIN) * (value - low) / span)

    return [
        Bar(
            label=row[0],
            text=f"{row[1]}, 95% interval {row[2]}",
            zero=place(0.0),
            low=place(interval.low),
            width=place(interval.high) - place(interval.low),
            at=place(gain),
        )
        for row, gain, interval in drawn
    ]
