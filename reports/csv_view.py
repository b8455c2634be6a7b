"""trials.csv: one row a trial, ranked ones first, for spreadsheets and data frames."""

import csv
import io
import json
from typing import Any

from loratory.reports.comparison_report import ComparisonReport, RankedTrial, TrialFacts
from loratory.reports.comparison_rows import metric_names

# The full-width ones are formulas to spreadsheets in East Asian locales.
_STARTS_FORMULA = tuple("=+-@\t\r＝＋－＠")


def csv_report(report: ComparisonReport) -> str:
    """The trials as CSV text: numbers as numbers in full precision, empty cells for what is not known."""
    rows = [_row(trial, report) for trial in (*report.ranking, *report.unranked)]
    columns = list(_row(None, report))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([guarded(name) for name in columns])
    writer.writerows([guarded(row[name]) for name in columns] for row in rows)
    return file.getvalue()


def guarded(value: Any) -> Any:
    """A cell that no spreadsheet runs: text like a formula gets an apostrophe (OWASP, "CSV Injection")."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.lstrip(" \n").startswith(_STARTS_FORMULA) else text


def _row(trial: TrialFacts | None, report: ComparisonReport) -> dict[str, Any]:
    """A trial's cells by column; of None, the columns alone."""
    ranked = trial if isinstance(trial, RankedTrial) else None
    params = trial.params if trial else {}
    metrics = ranked.metrics if ranked else {}
    fields = ("number", "state", "reason", "seed", "attempt", "evaluations", "best_dev_value")
    costs = ("elapsed_seconds", "device", "device_seconds", "peak_memory_bytes", "pack_size")
    places = ("best_step", "adapter", "adapter_sha256")
    interval = ranked.interval if ranked else None
    return {
        "rank": ranked.rank if ranked else None,
        **{name: getattr(trial, name, None) for name in fields[:2]},
        "value": ranked.value if ranked else None,
        "value_low": interval.low if interval else None,
        "value_high": interval.high if interval else None,
        "gain_over_base": ranked.gain if ranked else None,
        **{f"param.{p.name}": params.get(p.name) for p in report.study.parameters},
        **{f"metric.{name}": metrics.get(name) for name in metric_names(report)},
        **{name: getattr(trial, name, None) for name in (*fields[2:], *costs)},
        **{name: getattr(ranked, name, None) for name in places},
    }
