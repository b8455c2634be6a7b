"""report.html: one file that loads nothing from outside, enforced by a content security policy.

Texts come from data sets and models and may be hostile. Jinja escapes every value, the figures are JSON that
cannot close its element, and only the two scripts of this page, listed by their hashes, may run.
"""

import base64
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from loratory.reports import formatting
from loratory.reports.columns import METRIC, Column, View, columns
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.comparison_rows import (
    best_line,
    choice_line,
    comparison_rows,
    metric_names,
    tie_note,
    usual_folder,
)
from loratory.reports.figures.curves import dev_figure, loss_figure
from loratory.reports.figures.figure import Figure
from loratory.reports.figures.scores import scores_figure, set_figure
from loratory.reports.figures.search import history_figure, slice_figures
from loratory.reports.figures.trade_offs import pareto_figures
from loratory.reports.html_rows import html_rows
from loratory.reports.interval_words import DEV, SINGLE_TRAININGS, interval_notes
from loratory.reports.retrained_words import HEADS, ONE_RUN, retrained_notes, retrained_rows
from loratory.reports.statistics.importance import TITLE
from loratory.reports.trade_off_words import (
    PLACES,
    cost_note,
    front_rows,
    metric_sentences,
    rank_heads,
    rank_rows,
)
from loratory.reports.verdict import further_line
from loratory.reports.visible import cut, visible
from loratory.spaces.command_line import command

_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST = 3000
"""Characters of a text; samples, which say what is left out of them, are shorter."""


def html_report(report: ComparisonReport, folder: str | Path | None = None) -> str:
    """Return the comparison as an HTML page.

    Args:
        report: the comparison.
        folder: the study folder as it was given, for commands; None: where `loratory run` makes it.
    """
    from plotly.offline import get_plotlyjs

    drawn = [set_figure, scores_figure, history_figure, dev_figure, loss_figure]
    figures = [figure for draw in drawn if (figure := draw(report)) is not None]
    slices, fronts = slice_figures(report), pareto_figures(report)
    scripts = {"plotly_js": get_plotlyjs(), "page_js": _read("report.js")}
    return (
        _environment()
        .get_template("report.html")
        .render(
            **_context(report, folder or usual_folder(report)),
            figures={figure.name: figure for figure in figures},
            slices=slices,
            fronts=fronts,
            figures_json=_json([*figures, *slices, *fronts]),
            # Files of this package and not data: escaping would break them.
            css=Markup(_read("report.css")),
            policy=_policy(list(scripts.values())),
            **{name: Markup(script) for name, script in scripts.items()},
        )
    )


def _context(report: ComparisonReport, folder: str | Path) -> dict[str, Any]:
    return {
        "report": report,
        "best": report.best,
        "winner": report.winner,
        "best_line": best_line(report),
        "choice": choice_line(report),
        "tie": tie_note(report),
        "further": further_line(report.findings) if report.findings else "",
        "metric": formatting.label(report.study.metric),
        "metrics": metric_names(report),
        "ranked_columns": (ranked := _ranked_columns(report)),
        "ranked_rows": html_rows(ranked, report.ranking),
        "unranked_columns": (unranked := columns(report, View.HTML_UNRANKED)),
        "unranked_rows": html_rows(unranked, report.unranked, best_first=False),
        "base_value": _base_value(report),
        "interval_notes": interval_notes(report),
        "dev_note": DEV,
        "associations_title": TITLE,
        "metric_sentences": metric_sentences(report),
        "places_note": PLACES,
        "rank_heads": rank_heads(report),
        "rank_rows": rank_rows(report),
        "cost_note": cost_note(report, folder),
        "front_rows": front_rows(report),
        "one_run": ONE_RUN,
        "times_note": formatting.TIMES,
        "confirm_command": command("confirm", folder),
        "publish_command": report.publish.command(folder) if report.publish else None,
        "retrained_heads": HEADS,
        "retrained_rows": retrained_rows(report.retrained) if report.retrained else [],
        "retrained_notes": [*retrained_notes(report), SINGLE_TRAININGS],
        "comparison_rows": comparison_rows(report) if report.best else [],
    }


def _ranked_columns(report: ComparisonReport) -> list[Column]:
    """Return the columns of the ranking, without those that this study has no values for."""
    hidden = {f"{METRIC}{report.study.metric}"}  # the column `value` shows it
    if _base_value(report) is None:
        hidden.add("gain_over_base")
    return [column for column in columns(report, View.HTML_RANKED) if column.name not in hidden]


def _base_value(report: ComparisonReport) -> float | None:
    return report.base.metrics.get(report.study.metric) if report.base else None


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=_shown,
    )
    names = [
        "label",
        "score",
        "between",
        "chance",
        "parameter",
        "duration",
        "size",
        "counts",
        "never_started",
    ]
    environment.filters |= {name: getattr(formatting, name) for name in names}
    return environment


def _shown(value: Any) -> Any:
    """Return what the page shows of a value: of foreign text its start, with every character visible."""
    if type(value) is not str:  # `Markup`, a str too, is of this package
        return value
    return (
        value
        if value.isascii() and value.isprintable() and len(value) < _LONGEST
        else visible(cut(value, _LONGEST))
    )


def _json(figures: list[Figure]) -> Markup:
    names = ("name", "data", "layout", "zooms", "whole")
    content = [{name: getattr(figure, name) for name in names} for figure in figures]
    return htmlsafe_json_dumps(content, dumps=partial(json.dumps, allow_nan=False))


def _policy(scripts: list[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
