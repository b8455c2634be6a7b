from collections.abc import Callable

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.formatting import TIMES
from loratory.reports.html_view import html_report
from loratory.reports.markdown_view import markdown_report
from loratory.reports.score_files import read_table


def test_says_the_answer_first(study: StudyFolder) -> None:
    head = markdown_report(compare(study)).partition("##")[0]
    assert "**Trials 7 and 10 may be best.**" in head
    assert "Best value: trial 7, ROUGE-L 0.7747" in head
    assert "- learning_rate: 0.0015" in head
    assert "`trials/0007/adapter`" in head
    assert "provisional" in head


def test_failures_stand_in_one_row(study: StudyFolder) -> None:
    text = markdown_report(compare(study))
    (row,) = [line for line in text.splitlines() if "out of memory" in line]
    assert row.startswith(r"| 4 | failed | CUDA out of memory \| 20 GiB =HYPERLINK")


def test_study_without_results_says_so(make_study: Callable[..., StudyFolder]) -> None:
    assert "No trial is ranked" in markdown_report(compare(make_study([], base=False, test=False)))


def test_says_how_each_metric_is_computed(study: StudyFolder) -> None:
    report = compare(study)
    table = read_table(study.trial("0007"))
    assert table is not None and report.signatures == table.signatures
    text = markdown_report(report)
    assert f"- BLEU: `{table.signatures['bleu']}`" in text
    assert "tok:13a" in table.signatures["bleu"]


def test_times_are_explained_in_page_and_markdown(study: StudyFolder) -> None:
    report = compare(study)
    assert TIMES in markdown_report(report) and TIMES in html_report(report)
