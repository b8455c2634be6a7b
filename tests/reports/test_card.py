from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.publishing import stage

MakeStudy = Callable[..., StudyFolder]


def card(study: StudyFolder, **options: object) -> tuple[Path, ModelCard]:
    path = stage(study, **{"trial": None, "repo_id": "me/docs-lora", **options}).path / "README.md"  # type: ignore[arg-type]
    return path, ModelCard.load(path)


def test_hub_reads_its_metadata(study: StudyFolder) -> None:
    _, found = card(study)
    data = found.data
    assert data.base_model == "acme/tiny-llama"
    assert data.library_name == "peft"
    assert data.pipeline_tag == "text-generation"
    assert {"lora", "base_model:adapter:acme/tiny-llama"} <= set(data.tags)
    assert data.model_name == "docs-lora"


def test_results_are_the_recorded_metrics_in_full(study: StudyFolder) -> None:
    report = compare(study)
    _, found = card(study)
    select = {r.metric_type: r.metric_value for r in found.data.eval_results if r.dataset_split == "select"}
    test = {r.metric_type: r.metric_value for r in found.data.eval_results if r.dataset_split == "test"}
    assert select == report.ranking[0].metrics
    assert test == report.test[1].metrics


def test_another_trial_states_its_own_scores_and_no_test(study: StudyFolder) -> None:
    path, found = card(study, trial=5)
    assert {r.dataset_split for r in found.data.eval_results} == {"select"}
    text = path.read_text()
    assert "trial 5 (published)" in text
    assert "number 5 of 7 complete trials" in text


def test_tells_parameters_hashes_and_how_to_load(study: StudyFolder) -> None:
    text = card(study)[0].read_text()
    for part in (
        "| learning_rate (searched) | 0.0015 |",
        "| alpha | 64 |",
        "PeftModel.from_pretrained(base, 'me/docs-lora')",
        "revision='0123456789abcdef0123456789abcdef01234567'",
        "b" * 64,
        "d" * 64,
        "torch 2.13.0",
        "| untuned base | select |",
        "## Limits",
    ):
        assert part in text


def test_names_neither_examples_nor_reasons_nor_paths(study: StudyFolder) -> None:
    text = card(study)[0].read_text()
    for part in ("第一行", "HYPERLINK", str(study.path), "train.jsonl"):
        assert part not in text


@pytest.mark.parametrize(
    ("train", "named"),
    [
        ("acme/instructions", ["acme/instructions"]),
        ("acme/instructions:train[:5%]", ["acme/instructions"]),
        ("corpora/dolly.tsv", None),
        ("corpora/DOLLY.PARQUET", None),
        ("builtin:quickstart", None),
    ],
)
def test_names_a_data_set_that_is_on_the_hub(
    make_study: MakeStudy, train: str, named: list[str] | None
) -> None:
    _, found = card(make_study(data={"train": train}))
    assert found.data.datasets == named


@pytest.mark.parametrize("language", ["zh", None])
def test_language_is_named_where_known(make_study: MakeStudy, language: str | None) -> None:
    _, found = card(make_study(evaluation={"evaluations": 4, "language": language}))
    assert found.data.language == language
