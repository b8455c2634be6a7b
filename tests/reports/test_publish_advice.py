"""The command that views advise names the folder that was given, and works when it is typed."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.hub_ids import check_repo_id
from loratory.reports.publish_advice import publish_advice
from loratory.reports.publishing import stage
from loratory.reports.study_verdict import study_verdict
from loratory.reports.writing import write_report
from loratory.spaces.errors import InputError


def _typed(command: str) -> dict[str, str]:
    """The words of a publish command: the folder, then its options by name."""
    program, name, folder, *options = shlex.split(command)
    assert (program, name) == ("loratory", "publish")
    return {"folder": folder, **dict(zip(options[::2], options[1::2], strict=True))}


def test_every_view_names_the_folder_that_was_given(study: StudyFolder, tmp_path: Path) -> None:
    moved = StudyFolder(Path(shutil.move(study.path, tmp_path / "another name")))
    html = write_report(moved).read_text("utf-8")
    command = compare(moved).publish.command(moved.path)
    assert _typed(command) == {"folder": str(moved.path), "--repo": "me/docstrings"}
    assert command in re.sub("</?span>", "", html).replace("&#39;", "'")
    assert command in moved.report_markdown.read_text("utf-8")
    assert study_verdict(moved).publish.command(moved.path) == command
    for text in (html, moved.report_markdown.read_text("utf-8")):
        assert "runs/docstrings" not in text


def test_a_base_that_is_not_on_the_hub_needs_its_id(study: StudyFolder, make_study: Callable) -> None:
    config = study.adapter("0007") / "adapter_config.json"
    changed = json.loads(config.read_text()) | {"base_model_name_or_path": None}
    make_study(rows=(), base=False, test=False, model={"base": "builtin:quickstart"})
    config.write_text(json.dumps(changed))
    advice = compare(study).publish
    typed = _typed(advice.command(study.path))
    assert typed["--base-id"] == "me/BASE"
    assert "builtin:quickstart" in advice.note and "me/BASE" in advice.note
    with pytest.raises(InputError, match="--base-id"):
        stage(study, trial=None, repo_id=typed["--repo"])
    assert stage(study, trial=None, repo_id=typed["--repo"], base_id=typed["--base-id"]).key == "0007"


@pytest.mark.parametrize("lost", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_that_is_gone_is_never_offered(study: StudyFolder, lost: str) -> None:
    (study.adapter("0007") / lost).unlink()
    html = write_report(study).read_text("utf-8")
    report = compare(study)
    assert report.winner.key == "0007" and report.winner.adapter is None
    assert report.publish.command(study.path) is None and "missing" in report.publish.note
    for text in (html, study.report_markdown.read_text("utf-8")):
        assert "loratory publish" not in text
        assert "trials/0007/adapter" not in text
        assert "Trial 7 cannot be published: its adapter is missing" in text
    with pytest.raises(InputError, match=r"trial 7 is missing: .*publish another with --trial: \d"):
        stage(study, trial=None, repo_id="me/docs")


@pytest.mark.parametrize("name", ["a--b", "a..b", "a.-b.", "a" * 100, "x.git", "docs-lora"])
def test_the_repository_is_one_that_the_hub_allows(study: StudyFolder, name: str) -> None:
    report = compare(study)
    spec = study.read_manifest().spec.model_copy(update={"name": name})
    options = publish_advice(study, spec, report.winner).options
    check_repo_id(options[options.index("--repo") + 1])
