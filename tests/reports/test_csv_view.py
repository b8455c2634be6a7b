import csv
import io

import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.csv_view import csv_report, guarded


def rows(study: StudyFolder) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_report(compare(study)))))


def test_has_every_trial_with_numbers_in_full(study: StudyFolder) -> None:
    report, found = compare(study), rows(study)
    assert [row["number"] for row in found] == ["7", "10", "1", "3", "5", "9", "0", "2", "4", "6", "8", "11"]
    assert float(found[0]["value"]) == report.ranking[0].value
    assert float(found[0]["param.learning_rate"]) == 1.5e-3
    assert float(found[0]["metric.bleu"]) == report.ranking[0].metrics["bleu"]
    assert found[3]["param.target_modules"] == '["q_proj", "v_proj"]'


def test_trials_without_a_place_have_no_value(study: StudyFolder) -> None:
    pruned = next(row for row in rows(study) if row["number"] == "2")
    assert (pruned["rank"], pruned["value"], pruned["state"]) == ("", "", "PRUNED")
    assert float(pruned["best_dev_value"]) == pytest.approx(0.064)


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", "\n=1", " -x"]
)
def test_text_that_a_spreadsheet_would_run_is_guarded(text: str) -> None:
    assert guarded(text) == f"'{text}"


def test_numbers_and_plain_text_stay() -> None:
    assert guarded(-1.5) == -1.5
    assert guarded(-3) == -3
    assert guarded(None) is None
    assert guarded("all-linear") == "all-linear"
    assert guarded(True) == "true"
