import json
import shutil

import pytest

from loratory.objectives.qlora.architecture import (
    Architecture,
    check_targets,
    read_architecture,
    read_tokenizer,
)
from loratory.objectives.qlora.reference import resolve_base
from loratory.spaces.errors import InputError
from loratory.spaces.model import ModelSpec

LLAMA = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")


@pytest.fixture(scope="module")
def architecture(base_folder):
    return read_architecture(resolve_base(ModelSpec(base=str(base_folder()))))


def test_layers_and_limits_are_read_without_weights(architecture):
    assert architecture.targets("all-linear") == LLAMA
    assert architecture.max_positions == 256
    assert architecture.linear_layers["model.layers.0.self_attn.k_proj"] == (64, 32)
    assert "lm_head" not in architecture.linear_layers


@pytest.mark.parametrize("kind", ["qwen2", "mistral", "phi3", "gpt_neox"])
def test_other_architectures_are_read(base_folder, kind):
    folder = base_folder(kind, **({"pad_token_id": 0} if kind == "phi3" else {}))
    found = read_architecture(resolve_base(ModelSpec(base=str(folder))))
    assert found.targets("all-linear")
    assert not any("lm_head" in name or "embed_out" in name for name in found.linear_layers)


def test_names_match_as_in_peft(architecture):
    assert architecture.targets(("v_proj", "q_proj")) == ("q_proj", "v_proj")
    assert architecture.targets("layers.0.self_attn.q_proj") == ("layers.0.self_attn.q_proj",)
    with pytest.raises(InputError, match="'proj' matches none; there are down_proj, "):
        architecture.targets(("q_proj", "proj"))
    with pytest.raises(InputError, match="lm_head"):
        architecture.targets("lm_head")


def test_whole_layers_must_match():
    layers = {"blocks.0.query": (8, 8), "blocks.0.subquery": (8, 8)}
    made = Architecture(name="x", linear_layers=layers, max_positions=None)
    assert made.largest_rank(made.targets("query")) == 8
    with pytest.raises(InputError):
        made.targets("uery")


def test_searched_targets_are_all_checked(make_study, architecture):
    check_targets(make_study(space={"target_modules": ["all-linear", ["q_proj", "v_proj"]]}), architecture)
    with pytest.raises(InputError, match="'c_attn' matches none"):
        check_targets(make_study(space={"target_modules": ["all-linear", ["c_attn"]]}), architecture)


def test_fixed_targets_are_checked(make_study, architecture):
    with pytest.raises(InputError, match="'c_attn' matches none"):
        check_targets(make_study(training={"target_modules": ["c_attn"]}), architecture)


def test_rank_beyond_the_layers_is_refused(make_study, architecture):
    check_targets(make_study(training={"rank": 64}), architecture)
    with pytest.raises(InputError, match=r"rank: must be at most 64.*got 65"):
        check_targets(make_study(training={"rank": 65}), architecture)
    with pytest.raises(InputError, match="got 128"):
        check_targets(make_study(space={"rank": {"type": "int", "low": 4, "high": 128}}), architecture)


def test_mixture_of_experts_is_refused(tmp_path, base_folder, tokenizer):
    from transformers import AutoConfig

    folder = tmp_path / "experts"
    shutil.copytree(base_folder(), folder)
    config = AutoConfig.for_model(
        "mixtral", hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=2, vocab_size=len(tokenizer),
    )  # fmt: skip
    config.save_pretrained(folder)
    with pytest.raises(InputError, match="mixture-of-experts"):
        read_architecture(resolve_base(ModelSpec(base=str(folder))))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "unquantised"),
        ({"model_type": "t5"}, "causal language model"),
        ({"model_type": "no-such-type"}, r"config\.json"),
    ],
)
def test_base_of_the_wrong_kind_is_refused(tmp_path, base_folder, change, rule):
    folder = tmp_path / "base"
    shutil.copytree(base_folder(), folder)
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=rule) as caught:
        read_architecture(resolve_base(ModelSpec(base=str(folder))))
    assert "\n" not in str(caught.value)


def test_broken_tokenizer_is_refused(tmp_path, base_folder):
    folder = tmp_path / "base"
    shutil.copytree(base_folder(), folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="tokenizer"):
        read_tokenizer(resolve_base(ModelSpec(base=str(folder))))
