from pathlib import Path

import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.publishing import stage
from loratory.reports.verification import (
    compare_scores,
    environment_differences,
    read_card_metrics,
    tolerance_of,
)
from loratory.spaces import InputError


def test_card_reads_back_what_was_recorded(study: StudyFolder) -> None:
    report = compare(study)
    card = stage(study, trial=None, repo_id="me/x").path / "README.md"
    assert read_card_metrics(card) == report.ranking[0].metrics
    assert read_card_metrics(card, split="test") == report.test[1].metrics
    assert compare_scores(read_card_metrics(card), dict(report.ranking[0].metrics)) == []


def test_card_survives_other_line_endings(study: StudyFolder) -> None:
    card = stage(study, trial=None, repo_id="me/x").path / "README.md"
    stated = read_card_metrics(card)
    card.write_bytes(card.read_bytes().replace(b"\n", b"\r\n"))
    assert read_card_metrics(card) == stated


def test_differences_are_named() -> None:
    stated = {"rougeL": 0.5, "bleu": 30.0, "chrf": 50.0}
    lines = compare_scores(stated, {"rougeL": 0.51, "bleu": 30.00001})
    assert lines == [
        "rougeL: the card states 0.5, measured 0.51",
        "chrf: the card states 50, it was not measured",
    ]
    assert compare_scores(stated, {"rougeL": 0.51, "bleu": 30.0, "chrf": 50.0}, tolerance=0.02) == []


def test_another_environment_is_described() -> None:
    versions = {"torch": "2.13.0", "peft": "0.21.2"}

    def described(present: dict[str, str], device: str) -> str:
        return environment_differences(
            recorded_versions=versions,
            present_versions=present,
            recorded_device="NVIDIA H200",
            present_device=device,
        )

    assert described({**versions, "numpy": "2"}, "NVIDIA H200") == ""
    found = described({"torch": "2.11.0"}, "AMD EPYC")
    assert "device NVIDIA H200 then, AMD EPYC now; torch 2.13.0 then, 2.11.0 now; peft 0.21.2 then" in found
    assert "\n" not in found


def test_nan_never_agrees() -> None:
    assert compare_scores({"bleu": 1.0}, {"bleu": float("nan")})
    assert compare_scores({"bleu": float("inf")}, {"bleu": float("inf")})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# no metadata", "must open with metadata"),
        ("---\na: [\n---\n", "must be YAML"),
        ("---\nbase_model: x\n---\n", "must state metrics on split select"),
    ],
)
def test_cards_without_metrics_are_refused(tmp_path: Path, text: str, says: str) -> None:
    card = tmp_path / "README.md"
    card.write_text(text)
    with pytest.raises(InputError, match=says):
        read_card_metrics(card)


def test_missing_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none"):
        read_card_metrics(tmp_path / "README.md")


def test_half_precision_may_choose_another_of_two_nearly_equal_tokens():
    assert tolerance_of("float32") < tolerance_of("bfloat16") == tolerance_of("float16") < 0.05
    assert tolerance_of(None) == tolerance_of("float32")
    stated, measured = {"rougeL": 0.253}, {"rougeL": 0.251}
    assert compare_scores(stated, measured, tolerance=tolerance_of("bfloat16")) == []
    assert len(compare_scores(stated, measured, tolerance=tolerance_of("float32"))) == 1
