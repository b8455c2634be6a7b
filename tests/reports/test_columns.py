"""Each view shows the columns it names, and all views say the same of a trial."""

import csv
import io

import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.columns import METRIC, PARAMETER, View, columns
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import RankedTrial, UnrankedTrial
from loratory.reports.csv_view import csv_report
from loratory.reports.html_view import html_report
from loratory.reports.markdown_view import markdown_report


@pytest.mark.parametrize("view", View)
def test_a_view_has_every_column_that_it_names(study: StudyFolder, view: View) -> None:
    names = [column.name for column in columns(compare(study), view)]
    assert len(set(names)) == len(names)
    fixed = [name for name in view.value if name not in (PARAMETER, METRIC)]
    assert [name for name in names if not name.startswith((PARAMETER, METRIC))] == fixed
    assert any(name.startswith(PARAMETER) for name in names) == (PARAMETER in view.value)
    assert any(name.startswith(METRIC) for name in names) == (METRIC in view.value)


def test_a_column_of_a_field_names_one_that_trials_have(study: StudyFolder) -> None:
    report = compare(study)
    best, fields = report.ranking[0], {*RankedTrial.model_fields, *UnrankedTrial.model_fields}
    renamed = {"value_low", "value_high", "gain_over_base", "gain_low", "gain_high"}
    shown = {c.name: c.value(best) for c in columns(report, View.CSV) if "." not in c.name}
    assert set(shown) - renamed <= fields
    assert shown["gain_over_base"] == best.gain
    assert best.interval is not None
    assert (shown["value_low"], shown["value_high"]) == (best.interval.low, best.interval.high)


def test_a_trial_reads_the_same_in_every_view(study: StudyFolder) -> None:
    report = compare(study)
    best = report.ranking[0]
    texts = [column.text(best) for column in columns(report, View.MARKDOWN_RANKED)]
    assert f"| {' | '.join(texts)} |" in markdown_report(report).replace("\\", "")
    page = html_report(report)
    assert all(f">{text}<" in page for text in texts)
    header = next(csv.reader(io.StringIO(csv_report(report))))
    assert header == [column.name for column in columns(report, View.CSV)]
