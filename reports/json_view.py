"""report.json: the whole comparison for programs, in strict JSON (no NaN, no Infinity)."""

import json
from typing import Any

from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.visible import json_escaped


def json_report(report: ComparisonReport) -> str:
    """Return the comparison as JSON text with the keys of `ComparisonReport`.

    Each key begins a line, and so does each element of a list: a line for each trial. Characters that cannot
    be seen are JSON's escapes: a terminal does not obey them, and programs read them as they were.
    """
    lines = ",\n".join(
        f" {_text(name)}: {_value(value)}" for name, value in report.model_dump(mode="json").items()
    )
    return f"{{\n{lines}\n}}\n"


def _value(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _text(value)
    return "[\n" + ",\n".join(f"  {_text(element)}" for element in value) + "\n ]"


def _text(value: Any) -> str:
    # Without indentation, which has no encoder in C.
    return json_escaped(json.dumps(value, ensure_ascii=False, allow_nan=False))
