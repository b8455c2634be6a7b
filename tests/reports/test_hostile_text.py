"""Foreign text is text in every view, whatever is in it."""

import csv
import html
import io
import json
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from loratory.objectives.records import TrialState
from loratory.objectives.scores import Prediction, predictions_to_bytes
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.csv_view import csv_report
from loratory.reports.html_view import html_report
from loratory.reports.json_view import json_report
from loratory.reports.markdown_view import markdown_report
from loratory.reports.table import ranking_table

MEGABYTE = "long " * 200_000
HOSTILE = (
    "<script>window.pwned=1</script><img src=x onerror=alert(1)>",
    "\x1b[2J\x1b]0;title\x07\x1b[31mred\x9b1A",
    "a | b \\| c\n|---|\n# head [x](javascript:1) `code` ***",
    '=HYPERLINK("http://evil")',
    "\u202egnp.exe\u2066\u200f",
    "pay\u200bpal\ufeff\u00ad\u2060",
    "\x00\x7f\u2028\u2029",
    MEGABYTE,
)
# What must stand in no file as it is; tab, line feed and carriage return are white space.
HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
ROWS = [(n, TrialState.COMPLETE, 0.3 + 0.05 * n, 1e-3, 8, 8, text) for n, text in enumerate(HOSTILE)] + [
    (20 + n, TrialState.FAIL, 0.1, 1e-3, 8, 8, text) for n, text in enumerate(HOSTILE)
]


@pytest.fixture
def hostile(make_study: Callable[..., StudyFolder]) -> StudyFolder:
    """A study with such texts as parameters, reasons, devices, versions, signatures and answers."""
    space = {"target_modules": list(HOSTILE)}
    folder = make_study(ROWS, space=space, test=False)
    for record in folder.read_records():
        text = HOSTILE[record.row % 20]
        provenance = record.provenance.model_copy(update={"versions": {text: text}})
        resources = record.resources.model_copy(update={"device": text})
        error = record.error.model_copy(update={"message": text}) if record.error else None
        changes = {"reason": text, "provenance": provenance, "resources": resources, "error": error}
        changes["params"] = {"target_modules": text}
        folder.write_record(record.model_copy(update=changes))
    best = folder.trial("0007")
    rows = [
        Prediction(example_id=f"{n}{text[:900]}", group=text, prompt=text, reference=text, prediction=text)
        for n, text in enumerate(HOSTILE)
    ]
    (best / "predictions.jsonl").write_bytes(predictions_to_bytes(rows))
    return folder


@pytest.fixture
def report(hostile: StudyFolder) -> ComparisonReport:
    found = compare(hostile)
    signatures = {f"metric {n}": text for n, text in enumerate(HOSTILE)}
    return found.model_copy(update={"signatures": signatures})


def test_html(report: ComparisonReport) -> None:
    page = html_report(report)
    assert page.count("<script") == page.count("</script>") == 3
    body = re.sub(r"<script.*?</script>|<style>.*?</style>", "", page, flags=re.DOTALL)
    assert "<img" not in body and "onerror=alert" in body
    assert not HIDDEN.findall(body)
    text = html.unescape(body)
    for seen in (r"\x1b[2J", r"\u202egnp.exe\u2066\u200f", r"pay\u200bpal\ufeff\xad\u2060", r"\x00\x7f"):
        assert seen in text
    (figures,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert not HIDDEN.findall(json.dumps(json.loads(figures), ensure_ascii=False))
    assert len(body) < 400_000


def test_markdown(report: ComparisonReport) -> None:
    text = markdown_report(report)
    assert not HIDDEN.findall(text)
    assert len(text) < 400_000
    outside = re.sub(r"(?m)^(`{3,})text\n.*?\n\1$", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?<!\\)<(?:script|img)", re.sub(r"(`+).*?\1", "", outside))
    width = 0
    for line in outside.splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        bars = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
        assert width in (0, bars)
        width = bars


def test_csv(report: ComparisonReport) -> None:
    text = csv_report(report)
    rows = list(csv.reader(io.StringIO(text)))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) == 1 + len(ROWS)
    cells = [cell for row in rows[1:] for cell in row]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "@"))]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert not HIDDEN.findall(text)
    assert max(map(len, cells)) < 32_768


def test_json_has_it_all_and_is_harmless_to_look_at(report: ComparisonReport) -> None:
    text = json_report(report)
    assert not HIDDEN.findall(text)
    read = json.loads(text)
    assert ComparisonReport.model_validate_json(text) == report
    assert {trial["params"]["target_modules"] for trial in read["ranking"]} == set(HOSTILE)


@pytest.mark.parametrize("width", [80, 200])
def test_terminal(report: ComparisonReport, width: int) -> None:
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(ranking_table(report))
    text = re.sub(r"\x1b\[[0-9;]*m", "", capture.get())  # rich's own styles
    assert not HIDDEN.findall(text)
    assert r"\x1b[2J" in text
    assert max(len(line) for line in text.splitlines()) <= width
    assert len(text) < 100_000
