"""report.json: the whole comparison for programs, in strict JSON (no NaN, no Infinity)."""

import json

from loratory.reports.comparison_report import ComparisonReport


def json_report(report: ComparisonReport) -> str:
    """Return the comparison as JSON text with the keys of `ComparisonReport`."""
    return json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
