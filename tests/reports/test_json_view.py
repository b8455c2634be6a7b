import json

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.json_view import json_report


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_reads_back_as_the_same_report(study: StudyFolder) -> None:
    report = compare(study)
    text = json_report(report)
    json.loads(text, parse_constant=refuse)
    assert ComparisonReport.model_validate_json(text) == report


def test_holds_no_path_of_this_machine(study: StudyFolder) -> None:
    text = json_report(compare(study))
    assert str(study.path.parent) not in text
    assert '"adapter": "trials/0007/adapter"' in text


def test_holds_how_each_metric_is_computed(study: StudyFolder) -> None:
    signatures = json.loads(json_report(compare(study)))["signatures"]
    assert set(signatures) == {"rougeL", "bleu", "token_f1", "exact_match"}
    assert "stem:no" in signatures["rougeL"] and "articles:no" in signatures["token_f1"]
