import pickle
import shutil
from dataclasses import replace

import pytest

from loratory.objectives.qlora.base.reference import base_sha256, resolve_base
from loratory.spaces.errors import InputError
from loratory.spaces.model import ModelSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(base_folder, tmp_path):
    copy = tmp_path / "base"
    shutil.copytree(base_folder(), copy)
    return copy


def test_folder_is_absolute_and_survives_the_way_to_a_worker(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    reference = resolve_base(ModelSpec(base="base", hub_id="me/base"))
    assert reference.location == str(folder)
    assert reference.published_name == "me/base"
    assert reference.revision is None
    assert pickle.loads(pickle.dumps(reference)) == reference


def test_folder_without_hub_id_has_no_name_to_publish(folder):
    assert resolve_base(ModelSpec(base=str(folder))).published_name is None


@pytest.mark.parametrize(
    ("missing", "rule"), [("config.json", "configuration"), ("model.safetensors", "weights")]
)
def test_folder_that_lacks_a_part_is_refused(folder, missing, rule):
    (folder / missing).unlink()
    with pytest.raises(InputError, match=rule):
        resolve_base(ModelSpec(base=str(folder)))


def test_folder_without_tokenizer_is_refused(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InputError, match="tokenizer"):
        resolve_base(ModelSpec(base=str(folder)))


def test_an_adapter_is_refused_with_its_base_alone_or_beside_one(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')
    for _ in ("with a base", "alone"):
        with pytest.raises(
            InputError, match=r"has an adapter \(adapter_config\.json, made for some/base\); "
        ):
            resolve_base(ModelSpec(base=str(folder)))
        (folder / "config.json").unlink(missing_ok=True)
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(InputError, match=r"has an adapter \(adapter_config\.json\)"):
        resolve_base(ModelSpec(base=str(folder)))


def test_gguf_is_refused_as_a_folder_and_as_a_file(folder):
    (folder / "model.safetensors").rename(folder / "model.gguf")
    with pytest.raises(InputError, match=r"has no \*\.safetensors, but \*\.gguf, .*take the release"):
        resolve_base(ModelSpec(base=str(folder)))
    with pytest.raises(InputError, match=r"must be a folder with config\.json, .*model\.gguf is a file"):
        resolve_base(ModelSpec(base=str(folder / "model.gguf")))


def test_revision_of_a_folder_is_refused(folder):
    with pytest.raises(InputError, match=r"model\.revision"):
        resolve_base(ModelSpec(base=str(folder), revision="main"))


@pytest.mark.parametrize("base", ["./nowhere", "/no/such/folder", "a/b/c", "~/nowhere-at-all"])
def test_path_that_leads_nowhere_is_refused_without_asking_the_network(base):
    with pytest.raises(InputError, match="folder that exists, a Hub id or builtin:quickstart"):
        resolve_base(ModelSpec(base=base))


def test_the_builtin_base_misspelt():
    with pytest.raises(InputError, match="got 'builtin:quickstrat': did you mean builtin:quickstart\\?"):
        resolve_base(ModelSpec(base="builtin:quickstrat"))


def test_hub_id_that_cannot_be_read_is_refused(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="nobody/none-such"):
        resolve_base(ModelSpec(base="nobody/none-such"))


@pytest.fixture
def snapshot(folder, tmp_path, monkeypatch):
    """The folder of `some/base` at `COMMIT` in the cache of the Hub."""
    import huggingface_hub.constants

    repository = tmp_path / "cache" / "models--some--base"
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return repository / "snapshots" / COMMIT


def test_an_adapter_of_the_hub_is_refused(snapshot):
    (snapshot / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="some/base must hold a base alone, has an adapter"):
        resolve_base(ModelSpec(base="some/base"))


@pytest.mark.usefixtures("snapshot")
def test_hub_id_in_the_cache_is_pinned_to_its_commit():
    reference = resolve_base(ModelSpec(base="some/base"))
    assert (reference.location, reference.revision) == ("some/base", COMMIT)
    assert reference.published_name == "some/base"
    with_other_commit = replace(reference, revision="f" * 40)
    assert base_sha256(reference) != base_sha256(with_other_commit)
