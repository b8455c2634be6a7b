"""trials.csv: one row per trial, ranked trials first, for spreadsheets and data frames."""

import csv
import io
import json
from typing import Any

from loratory.reports.columns import View, columns
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.visible import cut, visible

_LONGEST_CELL = 30_000
"""Characters of a text; a cell of a spreadsheet holds 32,767."""
# Spreadsheets in East Asian locales read the full-width characters as formulas too.
_STARTS_FORMULA = tuple("=+-@\t\r＝＋－＠")


def csv_report(report: ComparisonReport) -> str:
    """Return the trials as CSV text: numbers in full precision, empty cells for unknown values."""
    shown = columns(report, View.CSV)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([guarded(column.name) for column in shown])
    for trial in (*report.ranking, *report.unranked):
        writer.writerow([guarded(column.value(trial)) for column in shown])
    return file.getvalue()


def guarded(value: Any) -> Any:
    """Return a cell that no spreadsheet executes and no terminal obeys.

    A formula gets an apostrophe (OWASP, "CSV Injection"); what cannot be seen becomes an escape.
    """
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = "\r".join(map(visible, cut(whole, _LONGEST_CELL).split("\r")))
    return f"'{text}" if text.lstrip(" \n").startswith(_STARTS_FORMULA) else text
