"""Views of compared studies: the same facts, and hostile text as text."""

import json
import re

import pytest

from loratory.reports.findings import Interval
from loratory.reports.studies.comparing import compare_studies
from loratory.reports.studies.html_view import bars, studies_html
from loratory.reports.studies.markdown_view import studies_markdown
from loratory.reports.studies.studies_report import StudiesReport
from loratory.reports.studies.text_view import studies_text
from loratory.reports.studies.words import TIMES
from loratory.reports.studies.writing import studies_json, write_studies_report
from loratory.spaces.errors import InputError

NASTY = "<script>x</script> | \u202e \x1b[31m {{ 7 * 7 }}"


@pytest.fixture
def report(plain_study):
    """Three studies, the third of a base with a hostile name."""
    folders = [
        plain_study(name, {0: mean}, test={None: 0.1, 0: mean}, seed=seed)
        for seed, (name, mean) in enumerate({"one": 0.6, "two": 0.5, "three": 0.5}.items())
    ]
    found = compare_studies(folders)
    nasty = found.studies[2].model_copy(update={"base_model": NASTY})
    return found.model_copy(update={"studies": (*found.studies[:2], nasty)})


def test_every_view_has_the_verdict_the_differences_and_the_costs(report):
    for view in (studies_text, studies_markdown, studies_html):
        text = view(report).replace("&amp;", "&")
        assert report.verdict[0] == "On test: one has the best adapter of 3: no other may be."
        assert report.verdict[0] in text
        for wanted in ("one against two", "+0.1000", "size of its adapter", "1 MiB", "20 s", "1 complete"):
            assert wanted in text, view


def test_the_terminal_has_no_table_wider_than_80_columns_and_times_are_explained(report):
    assert (
        TIMES in studies_text(report) and TIMES in studies_markdown(report) and TIMES in studies_html(report)
    )
    tables = [line for line in studies_text(report).splitlines() if "  " in line]
    assert tables and max(map(len, tables)) <= 80
    assert "one against two" in studies_text(report) and "  difference: +0.1000" in studies_text(report)


def test_json_is_strict_and_whole(report):
    assert StudiesReport.model_validate(json.loads(studies_json(report))) == report
    assert json.loads(studies_json(report))["parts"][0]["may_be_best"] == ["one"]


def test_hostile_text_is_text_in_every_view(report):
    page = studies_html(report)
    assert "<script" not in page
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert "default-src 'none'" in page
    for view in (studies_text, studies_markdown, studies_html):
        assert "\x1b" not in view(report) and "\u202e" not in view(report)
        assert r"\u202e" in view(report).replace("\\\\", "\\")
    rows = [line for line in studies_markdown(report).splitlines() if "script" in line]
    assert rows and all(r"\<script\>" in row and r"\|" in row for row in rows)


def test_no_text_of_the_page_asks_for_anything_outside(report):
    assert not re.findall(r"(?:src|href)=\"(?!data:,)", studies_html(report))


def test_bars_are_on_one_scale_and_hold_zero(report):
    part = report.parts[0]
    drawn = bars(part)
    assert {bar.zero for bar in drawn} == {drawn[0].zero}
    for bar, found in zip(drawn, part.differences, strict=True):
        assert 0 <= bar.low <= bar.at <= bar.low + bar.width <= 100
        assert (bar.low > bar.zero) == (found.interval.low > 0)
    nothing = {"gain": 0.0, "interval": Interval(low=0.0, high=0.0)}
    equal = part.differences[0].model_copy(update=nothing)
    assert bars(part.model_copy(update={"differences": (equal,)}))[0].width == 0


def test_files_are_written_beside_the_studies_and_into_no_study(report, tmp_path):
    written = write_studies_report(report, tmp_path / "comparison")
    assert sorted(path.name for path in written.parent.iterdir()) == [
        "studies.html",
        "studies.json",
        "studies.md",
    ]
    with pytest.raises(InputError, match="must not be a study folder"):
        write_studies_report(report, tmp_path / "one")
