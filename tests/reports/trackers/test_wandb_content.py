import pytest

from loratory.objectives.records import Provenance, TrialRecord
from loratory.reports.trackers.wandb_content import run_config
from loratory.spaces.study import StudySpec


def config(*, base="acme/tiny", train="acme/pairs:train[:5%]", **data):
    study = StudySpec.model_validate(
        {
            "name": "s",
            "space": {"rank": [4, 8]},
            "model": {"base": base},
            "data": {"train": train, **data},
        }
    )
    record = TrialRecord(study="u", key="0000", number=0, params={"rank": 8}, provenance=Provenance(seed=1))
    return run_config(study, record)


def test_names_on_the_hub_are_sent_whole():
    found = config(eval="builtin:quickstart")
    assert found["model"]["base"] == "acme/tiny"
    assert found["data"]["train"] == "acme/pairs:train[:5%]"
    assert (found["data"]["eval"], found["data"]["test"]) == ("builtin:quickstart", None)


@pytest.mark.parametrize("path", ["/home/me/secret/thing.tsv", "~/secret/thing.tsv", "secret/thing.tsv"])
def test_of_a_local_path_only_the_last_part_is_sent(path):
    found = config(base=path.removesuffix(".tsv") + "/deeper", train=path, eval=path, test=path)
    assert [found["data"][name] for name in ("train", "eval", "test")] == ["thing.tsv"] * 3
    assert found["model"]["base"] == "deeper"
    assert "secret" not in str(found)


def test_a_folder_here_is_no_name_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret" / "llama").mkdir(parents=True)
    assert config(base="secret/llama")["model"]["base"] == "llama"


def test_alpha_is_filled_in():
    assert config()["alpha"] == 16.0
