"""`loratory report` of one study and of several."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.search.commands.report import report
from loratory.spaces.errors import InputError

ARCHIVE = Path(__file__).parents[2] / "version_1" / "quickstart.tar.gz"


@pytest.fixture
def studies(tmp_path):
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(tmp_path, filter="data")
    one = tmp_path / "quickstart"
    two = shutil.copytree(one, tmp_path / "two")
    manifest = StudyFolder(two).read_manifest()
    text = StudyFolder(two).manifest.read_text("utf-8").replace(manifest.uuid, "another")
    StudyFolder(two).manifest.write_text(text)
    return [one, two]


def test_several_studies_are_compared_beside_the_first(studies, capsys):
    report(studies)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("On test: cannot tell quickstart (")
    page = studies[0].parent / f"comparison-{studies[0].name}-{studies[1].name}" / "studies.html"
    assert lines[-1] == f"report: {page}"
    assert page.is_file()
    assert not StudyFolder(studies[0]).report.exists()


def test_json_and_output(studies, capsys, tmp_path):
    report(studies, as_json=True, output=tmp_path / "out")
    printed = capsys.readouterr().out
    assert json.loads(printed)["parts"][0]["split"] == "test"
    assert (tmp_path / "out" / "studies.json").read_text("utf-8").strip() == printed.strip()


def test_an_output_that_is_no_folder_is_refused(studies, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--output: must be a folder that can be made, got .*file"):
        report(studies, output=tmp_path / "file")


def test_output_is_for_several_studies(studies, tmp_path):
    with pytest.raises(InputError, match="--output is for several studies"):
        report(studies[:1], output=tmp_path / "out")


def test_one_study_has_its_report_in_its_folder(studies, capsys):
    report(studies[:1])
    assert capsys.readouterr().out == f"report: {StudyFolder(studies[0]).report_html}\n"
