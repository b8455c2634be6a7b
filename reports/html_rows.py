"""Rows of the page's tables of trials: a template takes seconds for thousands of them."""

from collections.abc import Sequence

from markupsafe import Markup, escape

from loratory.reports.columns import Column
from loratory.reports.comparison_report import TrialFacts
from loratory.reports.visible import one_line

_LONG = 40
"""Characters from which a cell that may break takes several lines."""
_CLASSES = {(True, False): "number", (False, True): "wrap", (True, True): '"number wrap"'}


def html_rows(columns: Sequence[Column], trials: Sequence[TrialFacts], *, best_first: bool = True) -> Markup:
    """Return a row for each trial, every text escaped.

    Args:
        columns: the columns.
        trials: the trials, in order.
        best_first: whether the first trial is the best, which is marked.
    """
    rows = ("".join(_cell(column, trial) for column in columns) for trial in trials)
    first = " class=first" * best_first
    marked = (f"<tr{first * (place == 0)}>{row}</tr>" for place, row in enumerate(rows))
    # Every text in it was escaped by `_cell`.
    return Markup("\n".join(marked))


def _cell(column: Column, trial: TrialFacts) -> str:
    value, text, ends = column.value(trial), column.text(trial), column.ends(trial)
    folds = column.wraps and (not column.numeric or len(text) > _LONG)
    shape = f" class={_CLASSES[column.numeric, folds]}" if column.numeric or folds else ""
    # What sorts like its text needs no second copy of it.
    by = "" if value is None or str(value) == text else f' data-sort="{escape(one_line(str(value)))}"'
    below = f"<small>{escape(ends)}</small>" if ends else ""
    return f"<td{shape}{by}>{escape(text)}{below}</td>"
