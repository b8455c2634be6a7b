"""Retraining of a real adapter: new seeds give other weights, and each can be published."""

from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from loratory.reports.publishing import stage
from loratory.search import run_study
from loratory.spaces import load_study


def test_new_seeds_give_other_adapters_in_one_pack_and_each_can_be_published(tiny_study, tmp_path):
    keys = ["trials=1", "evaluation.evaluations=1", "packing.slots=2", "tracking.wandb.mode=off"]
    study = load_study(tiny_study, [*keys, "confirmation.top=1", "confirmation.seeds=2"])
    folder = run_study(study, runs=tmp_path, local=True).folder
    again = folder.read_retrained()
    assert [record.key for record in again] == ["confirm/0000-1", "confirm/0000-2"]
    assert {record.resources.pack_size for record in again} == {2}, (
        "more slots than trials: as many as trainings"
    )
    records = [*folder.read_records(), *again]
    weights = {(folder.adapter(record.key) / ADAPTER_WEIGHTS).read_bytes() for record in records}
    assert len(weights) == 3
    configs = {(folder.adapter(record.key) / ADAPTER_CONFIG).read_bytes() for record in records}
    assert len(configs) == 1, "the settings are the same"
    assert len({record.order for record in records}) == 1
    staged = stage(folder, trial="confirm/0000-2", repo_id="me/again", base_id="me/base")
    assert (staged.path / ADAPTER_WEIGHTS).read_bytes() in weights
    assert again[1].adapter.sha256 in (staged.path / "README.md").read_text()
