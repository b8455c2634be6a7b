"""Mutations of a right base: each is refused before any weight is loaded."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loratory.objectives.qlora.base.checks.weights import check_weights
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.spaces.errors import InputError
from loratory.spaces.model import ModelSpec

UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def mutated(tmp_path, base_folder):
    """A function: changes of weights and configuration to the reference of a tiny Llama with them."""

    def make(change=lambda weights: weights, kind="llama", **config):
        shutil.copytree(base_folder(kind), tmp_path / "base")
        path, settings = tmp_path / "base/model.safetensors", tmp_path / "base/config.json"
        save_file(change(load_file(path)), path, metadata={"format": "pt"})
        settings.write_text(json.dumps(json.loads(settings.read_text()) | config))
        return resolve_base(ModelSpec(base=str(tmp_path / "base")))

    return make


def without(name):
    return lambda weights: {key: value for key, value in weights.items() if key != name}


def plus(name):
    return lambda weights: weights | {name: torch.zeros(4)}


def prefixed(prefix):
    return lambda weights: {prefix + key: value for key, value in weights.items()}


def test_a_whole_base_passes(mutated):
    check = check_weights(mutated())
    assert (check.name, check.passed) == ("weights", True)
    assert check.detail == "all 21 from the files"


def test_a_tied_head_is_not_missing(mutated):
    assert check_weights(mutated(without("lm_head.weight"), tie_word_embeddings=True)).passed


def test_a_missing_head_is_named(mutated):
    with pytest.raises(
        InputError, match=r"1 is missing \(lm_head\.weight\).*drawn at random; save the model"
    ):
        check_weights(mutated(without("lm_head.weight"), tie_word_embeddings=False))


def test_a_missing_weight_is_named(mutated):
    with pytest.raises(InputError, match=rf"1 is missing \({UP}\) and would be drawn at random"):
        check_weights(mutated(without(UP)))


def test_layers_that_only_the_configuration_has_are_counted(mutated):
    with pytest.raises(InputError, match=r"18 are missing \(model\.layers\.2\..*, \.\.\.\).*config\.json"):
        check_weights(mutated(num_hidden_layers=4))


def test_layers_that_only_the_files_have_are_counted(mutated):
    with pytest.raises(InputError, match=r"9 have no place in the model .*model\.layers\.1\."):
        check_weights(mutated(num_hidden_layers=1))


def test_a_renamed_weight_is_named_with_the_name_it_has(mutated):
    def rename(weights):
        return {key.replace(UP, "model.layers.1.mlp.upward.weight"): value for key, value in weights.items()}

    with pytest.raises(
        InputError, match=rf"1 is missing \({UP}\).*have model\.layers\.1\.mlp\.upward\.weight"
    ):
        check_weights(mutated(rename))


@pytest.mark.parametrize(
    ("prefix", "remedy"),
    [
        ("_orig_mod.", "torch.compile; save its `_orig_mod` again"),
        ("module.", "save its `module` again"),
        ("base_model.model.", "merge_and_unload"),
        ("student.", "save the model again without it"),
    ],
)
def test_a_prefix_is_named_with_its_remedy(mutated, prefix, remedy):
    with pytest.raises(InputError, match=rf"2\d are missing .*begin with '{prefix}'.*{remedy}"):
        check_weights(mutated(prefixed(prefix)))


def test_another_shape_is_named_with_both(mutated):
    def halve(weights):
        return weights | {UP: weights[UP][:64].contiguous()}

    with pytest.raises(InputError, match=rf"{UP}: \[64, 64\] in the file, \[128, 64\] by config\.json"):
        check_weights(mutated(halve))


def test_biases_that_the_configuration_leaves_out_are_refused(mutated):
    with pytest.raises(InputError, match=r"1 has no place in the model .*q_proj\.bias"):
        check_weights(mutated(plus("model.layers.0.self_attn.q_proj.bias")))


def test_what_does_no_harm_is_told(mutated):
    check = check_weights(mutated(plus("vision_tower.fc1.weight")))
    assert check.detail == "all 21 from the files; not used: towers for images or sound"


def test_torn_files_are_refused_in_a_line(mutated):
    reference = mutated()
    path = Path(reference.location, "model.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"must have readable weights: .*; copy or download") as caught:
        check_weights(reference)
    assert "\n" not in str(caught.value)


def test_a_pointer_of_git_lfs_is_refused_with_the_command_that_fetches_the_file(mutated):
    reference = mutated()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
    Path(reference.location, "model.safetensors").write_text(pointer)
    with pytest.raises(InputError, match=r"model\.safetensors only points to them; run `git lfs pull` there"):
        check_weights(reference)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn])
def test_quantised_weights_are_refused_though_the_configuration_says_nothing(mutated, dtype):
    with pytest.raises(InputError, match=rf"must be unquantised.*\({UP} in the files is .*take the release"):
        check_weights(mutated(lambda weights: weights | {UP: weights[UP].to(dtype)}))


def test_a_file_that_is_not_read_is_told(mutated):
    reference = mutated()
    Path(reference.location, "pytorch_model.bin").write_bytes(b"an earlier save")
    assert check_weights(reference).detail == "all 21 from the files; not read: pytorch_model.bin"


@pytest.mark.parametrize("kind", ["Gemma3", "Mistral3"])
def test_multimodal_releases_are_read_as_the_class_they_were_published_with(multimodal_folder, kind):
    check = check_weights(resolve_base(ModelSpec(base=str(multimodal_folder(kind)))))
    assert check.passed and "not used" not in check.detail
