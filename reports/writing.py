"""Write the comparison of a study in all formats."""

from pathlib import Path

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.csv_view import csv_report
from loratory.reports.html_view import html_report
from loratory.reports.json_view import json_report
from loratory.reports.markdown_view import markdown_report
from loratory.reports.study_verdict import verdict_of
from loratory.reports.verdict_file import write_verdict


def write_report(folder: StudyFolder, report: ComparisonReport | None = None) -> Path:
    """Write report.html, report.md, report.json, trials.csv and verdict.json into the study folder.

    Args:
        folder: the study folder.
        report: its comparison; None computes it.

    Returns:
        Path of report.html.

    Raises:
        InputError: there is no study in the folder.
        LoratoryError: a record is damaged, or newer than this loratory.
    """
    report = report or compare(folder)
    texts = {
        folder.report_json: json_report(report),
        folder.report_markdown: markdown_report(report, folder.path),
        folder.trials_csv: csv_report(report),
        folder.report_html: html_report(report, folder.path),
    }
    for path, text in texts.items():
        write_atomically(path, text.encode("utf-8"))
    write_verdict(folder, verdict_of(report))
    return folder.report_html
