"""report.json: the whole comparison, for programs. Strict JSON: no NaN, no Infinity."""

import json

from loratory.reports.comparison_report import ComparisonReport


def json_report(report: ComparisonReport) -> str:
    """The comparison as JSON text, keys as in `ComparisonReport`."""
    return json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
