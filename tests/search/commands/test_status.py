"""`loratory status` on a kept study: 12 trials, 9 of them scored, without the files of their adapters."""

import tarfile
from pathlib import Path

import pytest

from loratory.search.commands.status import status

ARCHIVE = Path(__file__).parents[2] / "version_1" / "quickstart.tar.gz"


@pytest.fixture
def study(tmp_path):
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(tmp_path, filter="data")
    return (tmp_path / "quickstart").rename(tmp_path / "another name")


def test_the_command_that_publishes_names_the_folder_and_what_it_needs(study, capsys):
    adapter = study / "trials" / "0011" / "adapter"
    adapter.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (adapter / name).touch()
    status(study)
    *_, command, note = capsys.readouterr().out.splitlines()
    assert command == f"publish it: loratory publish '{study}' --repo me/quickstart --base-id me/BASE"
    assert note == "Replace me/BASE by the id of the base on the Hub: upload builtin:quickstart there first."


def test_an_adapter_that_is_gone_is_not_offered(study, capsys):
    status(study)
    out = capsys.readouterr().out
    assert "loratory publish" not in out
    assert "Trial 11 cannot be published: its adapter is missing (its files are not in the study" in out
