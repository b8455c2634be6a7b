import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.publishing import stage
from loratory.reports.score_files import read_table

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
    assert "scored once" not in text
    assert "is the first of" not in text


def test_first_of_a_study_without_a_test_claims_none(make_study: MakeStudy) -> None:
    text = card(make_study(test=False))[0].read_text()
    assert "It is the first of 7 compared" in text
    assert "`test`" not in text


def test_winner_with_a_test_score_says_so(study: StudyFolder) -> None:
    text = card(study)[0].read_text()
    assert "`test` is scored once" in text
    assert "that on `test` is not" in text


def style(study: StudyFolder, name: str) -> None:
    study.data.mkdir(exist_ok=True)
    (study.data / "examples.json").write_text(json.dumps({"prompt_style": name}))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("chat_template", "tokenizer.apply_chat_template("),
        ("sections", "### Instruction:\n{instruction}"),
        ("as_written", "plain text, as the training data has them"),
        ("unheard-of", "or sections where it has none"),
    ],
)
def test_says_how_to_prompt(study: StudyFolder, name: str, part: str) -> None:
    style(study, name)
    text = card(study)[0].read_text()
    assert part in text
    assert "max_new_tokens=64" in text
    compile(text.partition("```python\n")[2].partition("```")[0], "card", "exec")
    assert (r'text = "### Instruction:\n...\n\n### Response:\n"' in text) == (name == "sections")
    assert text.count("apply_chat_template") == (name == "chat_template")


def test_says_the_date_and_the_tokens_that_belong_to_answers(study: StudyFolder) -> None:
    study.data.mkdir(exist_ok=True)
    listing = {
        "prompt_style": "chat_template",
        "prompt_date": "2026-03-05",
        "kept_tokens": ["<s_a>", "</s_a>"],
    }
    (study.data / "examples.json").write_text(json.dumps(listing))
    text = card(study)[0].read_text()
    assert "that of the study's start, 2026-03-05" in text
    code = text.partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")
    assert "kept = {'<s_a>', '</s_a>'}" in code
    assert "skip_special_tokens" not in code
    (study.data / "examples.json").write_text("[]")
    plain = card(study)[0].read_text()
    assert "study's start" not in plain and "skip_special_tokens=True" in plain


def test_says_that_scores_are_of_what_follows_a_thought(make_study: MakeStudy) -> None:
    text = card(make_study(evaluation={"score_thoughts": False}))[0].read_text()
    assert "computed on what follows the thought" in text
    assert "thought" not in card(make_study())[0].read_text()


def test_prompt_template_is_shown_as_it_is(make_study: MakeStudy) -> None:
    template = "Q:\n```{question}``` /no_think\nA:\n"
    study = make_study(data={"train": "train.jsonl", "prompt_template": template})
    style(study, "template")
    assert f"````text\n{template}\n````" in card(study)[0].read_text()


def test_code_that_loads_it_is_python_and_loads_nf4(make_study: MakeStudy) -> None:
    model = {"base": "acme/tiny-llama", "compute_dtype": "fp16", "double_quantization": False}
    text = card(make_study(model=model))[0].read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")
    for part in ('quant_type="nf4"', "use_double_quant=False", "dtype = torch.float16", "do_sample=False"):
        assert part in code


def test_code_that_loads_it_loads_an_unquantised_base(make_study: MakeStudy) -> None:
    model = {"base": "acme/tiny-llama", "compute_dtype": "fp16", "quantization": "none"}
    path, found = card(make_study(model=model))
    text = path.read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")
    assert "dtype = torch.float16" in code and ", dtype=dtype, device_map" in code
    assert "trained with LoRA on the unquantised base" in text
    assert "scored on the unquantised base; on the base in another" in text
    assert not any(word in text.lower() for word in ("nf4", "bitsandbytes", "4 bits", "qlora"))
    assert "lora" in found.data.tags and "qlora" not in found.data.tags


@pytest.mark.parametrize("optimizer", ["adamw", "lora_plus"])
def test_a_ratio_of_rates_is_told_where_it_was_used(make_study: MakeStudy, optimizer: str) -> None:
    text = card(make_study(training={"optimizer": optimizer}))[0].read_text()
    assert f"| optimizer | {optimizer} |" in text
    assert ("| lora_plus_ratio | 16 |" in text) == (optimizer == "lora_plus")


def test_names_what_each_metric_is(study: StudyFolder) -> None:
    table = read_table(study.trial("0007"))
    assert table is not None
    text = card(study)[0].read_text()
    assert len(table.signatures) == 4
    assert all(f"`{signature}`" in text for signature in table.signatures.values())


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
