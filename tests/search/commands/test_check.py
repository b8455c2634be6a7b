"""`loratory check`: what is told of a study before anything costs."""

import json

import pytest

from loratory.objectives.objective import ObjectiveKind, Prepared
from loratory.objectives.records import Check
from loratory.search.commands.check import check
from loratory.spaces.errors import InputError


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("name: c\nobjective: toy\nmetric: loss\nspace:\n  learning_rate: [1e-3, 2e-3]\n")
    return path


def use(monkeypatch, prepare):
    kind = ObjectiveKind(prepare=prepare, build=lambda *_: None)
    monkeypatch.setattr("loratory.objectives.objective.objective_kind", lambda _: kind)


def test_summary_checks_and_rows_are_printed(study_file, monkeypatch, capsys):
    found = Prepared(
        summary=("train: read 7 rows",),
        checks=(
            Check(name="decoder", passed=True, detail="LlamaForCausalLM"),
            Check(name="causal", detail="changing the last token must not change earlier logits"),
        ),
        shown=("row 1: [Paris]",),
    )
    use(monkeypatch, lambda *_: found)
    check(study_file)
    assert capsys.readouterr().out.splitlines() == [
        "train: read 7 rows",
        "check decoder: passed (LlamaForCausalLM)",
        "check causal: not checked: needs weights (changing the last token must not change earlier logits)",
        "row 1: [Paris]",
        f"next: loratory run {study_file}",
    ]


def test_a_refusal_is_that_of_run_and_nothing_is_written(study_file, monkeypatch, tmp_path):
    def refuse(*_):
        raise InputError("model.base: must be a decoder")

    use(monkeypatch, refuse)
    with pytest.raises(InputError, match="must be a decoder"):
        check(study_file)
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_overrides_are_checked_too(study_file):
    with pytest.raises(InputError, match="trials"):
        check(study_file, ["trials=0"])


def test_the_next_command_has_the_same_overrides(study_file, monkeypatch, capsys):
    use(monkeypatch, lambda *_: Prepared())
    check(study_file, ["trials=3", "toy={noise: 0.1}"])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == f"next: loratory run {study_file} --set trials=3 --set 'toy={{noise: 0.1}}'"


def test_a_folder_is_no_study_file(tmp_path):
    with pytest.raises(InputError, match="must be a study file, is a folder"):
        check(tmp_path)


def test_checks_of_the_driver_stand_in_the_study_folder(tmp_path, monkeypatch, toy_study):
    from loratory.objectives.objective import Beginning
    from loratory.objectives.study_folder import StudyFolder
    from loratory.search.manifest import open_manifest

    prepared = Prepared(checks=(Check(name="decoder", passed=True),))
    open_manifest(StudyFolder(tmp_path), toy_study(), prepared, Beginning.now())
    kept = json.loads((tmp_path / "study.json").read_text())
    assert kept["checks"] == [{"name": "decoder", "passed": True, "detail": ""}]
