import pytest

from loratory.objectives.metrics import requirements
from loratory.objectives.metrics.requirements import check_metrics
from loratory.objectives.objective import objective_kind
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec


@pytest.fixture
def make_study(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')

    def make(**evaluation):
        file = {"name": "s", "space": {"rank": [4, 8]}, "model": {"base": "b"}}
        return StudySpec.model_validate(file | {"data": {"train": str(rows)}, "evaluation": evaluation})

    return make


@pytest.mark.parametrize(
    ("tokenizer", "module", "package"),
    [
        ("ja-mecab", "ipadic", r"sacrebleu\[ja\]"),
        ("ko-mecab", "mecab_ko", r"sacrebleu\[ko\]"),
        ("flores200", "sentencepiece", "sentencepiece"),
    ],
)
def test_a_missing_package_is_named_before_anything_starts(
    make_study, monkeypatch, tokenizer, module, package
):
    monkeypatch.setattr(requirements, "find_spec", lambda name: None if name == module else object())
    file = {"bleu_tokenizer_file": "x.model"} if tokenizer == "flores200" else {}
    study = make_study(bleu_tokenizer=tokenizer, **file)
    rule = f"bleu_tokenizer: {tokenizer} needs the Python package {package}, .*: pip install '{package}'"
    with pytest.raises(InputError, match=rule) as refused:
        objective_kind(study.objective).check(study)
    assert "\n" not in str(refused.value)


def test_a_missing_model_file_is_named(make_study, monkeypatch):
    monkeypatch.setattr(requirements, "find_spec", lambda _: object())
    with pytest.raises(InputError, match=r"bleu_tokenizer_file: nowhere.model must be a file"):
        check_metrics(make_study(bleu_tokenizer="spm", bleu_tokenizer_file="nowhere.model"))


def test_nothing_is_needed_where_bleu_is_not_computed(make_study, monkeypatch):
    monkeypatch.setattr(requirements, "find_spec", lambda _: None)
    check_metrics(make_study(bleu_tokenizer="ja-mecab", metrics=["rougeL"]))
    check_metrics(make_study(bleu_tokenizer="intl"))
