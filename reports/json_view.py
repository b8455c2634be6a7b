"""report.json: the whole comparison for programs, in strict JSON (no NaN, no Infinity)."""

import json

from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.visible import json_escaped


def json_report(report: ComparisonReport) -> str:
    """Return the comparison as JSON text with the keys of `ComparisonReport`.

    Characters that cannot be seen are JSON's escapes: a terminal does not obey them, and programs read them
    as they were.
    """
    text = json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    return json_escaped(text) + "\n"
