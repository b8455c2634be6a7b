"""Sizes of bases without network and weights."""

import json
from pathlib import Path

import pytest
import torch

from loratory.objectives.qlora.base.skeleton import model_loader
from loratory.objectives.qlora.memory.base_sizes import KNOWN_BASES, KnownBase
from loratory.objectives.qlora.memory.bases import configuration_of, find_configuration, known_base
from loratory.spaces.errors import InputError
from loratory.spaces.loading import load_study
from loratory.spaces.model import ModelSpec

EXAMPLES = Path(__file__).parents[4] / "examples"


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def _parameters(known: KnownBase, layers: int) -> int:
    configuration = configuration_of(known)
    configuration.get_text_config().num_hidden_layers = layers
    configuration.get_text_config().layer_types = None
    configuration.get_text_config().__post_init__()
    with torch.device("meta"):
        model = model_loader(configuration).from_config(configuration)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("known", KNOWN_BASES, ids=lambda known: known.names[0])
def test_known_bases_have_the_published_number_of_parameters(known: KnownBase) -> None:
    layers = configuration_of(known).get_text_config().num_hidden_layers
    one, two = _parameters(known, 1), _parameters(known, 2)
    assert one + (layers - 1) * (two - one) == known.parameters


def test_bases_of_the_examples_need_no_files() -> None:
    for path in EXAMPLES.glob("*.yaml"):
        study = load_study(path, [])
        if study.model is not None:
            found = find_configuration(study.model)
            assert found.configuration.get_text_config().num_hidden_layers >= 28
            assert found.source.startswith("loratory's table")


def test_names_are_unique_and_a_mirror_counts() -> None:
    names = [name.lower() for known in KNOWN_BASES for name in known.names]
    assert len(names) == len(set(names))
    mirror = known_base("unsloth/llama-3.2-1b")
    assert mirror is not None
    assert mirror.owner == "meta-llama"
    assert known_base("meta-llama/Llama-3.2-1B-tuned") is None


def test_a_folder_wins_and_needs_no_weights(tmp_path: Path) -> None:
    folder = tmp_path / "Llama-3.1-8B"
    folder.mkdir()
    fields = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    (folder / "config.json").write_text(json.dumps(fields))
    found = find_configuration(ModelSpec(base=str(folder)))
    assert found.configuration.num_hidden_layers == 3
    assert found.source == "its config.json"


def test_a_cached_file_wins_over_the_table(tmp_path: Path) -> None:
    repository = tmp_path / "cache" / "models--meta-llama--Llama-3.1-8B"
    snapshot = repository / "snapshots" / "0123456789"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123456789")
    fields = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4}
    (snapshot / "config.json").write_text(json.dumps(fields))
    found = find_configuration(ModelSpec(base="meta-llama/Llama-3.1-8B"))
    assert found.configuration.num_hidden_layers == 5
    assert "cache" in found.source


def test_an_unknown_base_names_the_remedy() -> None:
    message = r"must be known.*did you mean .*Llama-3.2-1B.*hf download meta-llama/Llama-3.2-1 config.json"
    with pytest.raises(InputError, match=message):
        find_configuration(ModelSpec(base="meta-llama/Llama-3.2-1"))


def test_a_path_that_is_not_there_is_no_hub_id(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a folder with a config.json or a Hub id, got .*not there"):
        find_configuration(ModelSpec(base=str(tmp_path / "nowhere")))


def test_a_file_is_no_base(tmp_path: Path) -> None:
    file = tmp_path / "base.safetensors"
    file.touch()
    with pytest.raises(InputError, match="which is a file"):
        find_configuration(ModelSpec(base=str(file)))


@pytest.mark.parametrize("base", ["no/such/folder", "..", "a b"])
def test_a_base_that_is_neither_folder_nor_id(base: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.base: "):
        find_configuration(ModelSpec(base=base if base != ".." else str(tmp_path)))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{}", "must have a readable config.json"),
        ("not json", "must have a readable config.json: .*; take the file that the base was published with"),
        ("null", "must have a readable config.json: it must be a JSON object, is NoneType"),
        ('{"model_type": "llama"}', "must give hidden_size and num_hidden_layers"),
        ('{"model_type": "llama", "hidden_size": 64}', "must give num_hidden_layers, from which"),
        ('{"model_type": "llama", "hidden_size": "64"}', "must have a readable config.json: .*hidden_size"),
        ('{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 7}', "must have a readable"),
        ('{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 0}', "must have a readable"),
        ('{"model_type": "gemma3", "text_config": {"hidden_size": 64}}', "must give num_hidden_layers"),
    ],
)
def test_a_configuration_without_sizes(written: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(written)
    with pytest.raises(InputError, match=message):
        find_configuration(ModelSpec(base=str(tmp_path)))


def test_other_names_of_sizes_count(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4}')
    assert find_configuration(ModelSpec(base=str(tmp_path))).configuration.hidden_size == 64
