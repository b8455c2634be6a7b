import json
import re
import shutil

import pytest
import torch
from peft import LoraConfig
from peft.functional import inject_adapter_in_model
from transformers import AutoConfig, AutoModelForCausalLM

from loratory.objectives.qlora.base.architecture import (
    Architecture,
    check_targets,
    read_architecture,
    read_tokenizer,
)
from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.spaces.errors import InputError
from loratory.spaces.model import ModelSpec, Quantization

LLAMA = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")


@pytest.fixture(scope="module")
def architecture(base_folder):
    return read_architecture(resolve_base(ModelSpec(base=str(base_folder()))))


def test_layers_and_limits_are_read_without_weights(architecture):
    assert architecture.targets("all-linear") == LLAMA
    assert architecture.max_positions == 256
    assert architecture.linear_layers["model.layers.0.self_attn.k_proj"] == (64, 32)
    assert "lm_head" not in architecture.linear_layers


@pytest.mark.parametrize(
    "asked",
    [
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "flash_attention_3"},
        {"return_dict": False, "output_hidden_states": True},
    ],
)
def test_what_a_file_says_of_how_to_call_its_model_is_undone(base_folder, tmp_path, asked):
    shutil.copytree(base_folder(), tmp_path / "base")
    file = tmp_path / "base/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | asked))
    model = ModelSpec(base=str(tmp_path / "base"))
    base = load_base(model, resolve_base(model))
    assert base.model.config._attn_implementation in ("eager", "sdpa")
    assert base.model(torch.tensor([[5, 6]])).logits.shape[:2] == (1, 2)


@pytest.mark.parametrize(("kind", "name"), [("whisper", "max_target_positions"), ("mpt", "max_seq_len")])
def test_the_longest_input_has_other_names_too(base_folder, tmp_path, kind, name):
    shutil.copytree(base_folder(), tmp_path / "base")
    config = AutoConfig.for_model(kind, d_model=96, n_layers=1, decoder_layers=1, **{name: 96})
    config.is_encoder_decoder = False  # of Whisper its decoder alone
    config.save_pretrained(tmp_path / "base")
    assert read_architecture(resolve_base(ModelSpec(base=str(tmp_path / "base")))).max_positions == 96


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


@pytest.fixture(scope="module")
def experts_folder(base_folder):
    """A function: kind of a mixture of experts to the folder of a tiny random base of it."""
    latent = {f"{part}_lora_rank": 16 for part in ("q", "kv")}
    heads = {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16, "num_key_value_heads": 4}
    groups = {"n_group": 2, "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1}
    changes = {
        "mixtral": {"num_local_experts": 4},
        "qwen3_moe": {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "head_dim": 16,
        },
        "deepseek_v3": {"n_routed_experts": 4, "moe_intermediate_size": 32, **latent, **heads, **groups},
        "phimoe": {"num_local_experts": 4},
    }
    return lambda kind: base_folder(kind, **changes[kind])


PASSED_OVER = {
    "mixtral": ("gate", 2 * 4 * (3 * 64 * 128 + 64)),
    "qwen3_moe": ("gate", 2 * 4 * (3 * 64 * 32 + 64)),
    "deepseek_v3": ("gate", 4 * (3 * 64 * 32 + 64)),
    "phimoe": ("router", 2 * 4 * (3 * 64 * 128 + 64)),
}
"""Kind to the name of its router, and to the number of weights in experts and routers."""


def passed_over(kind):
    parts = ("experts.down_proj", "experts.gate_up_proj", f"{PASSED_OVER[kind][0]}.weight")
    return [f"model.layers.*.mlp.{part}" for part in parts]


@pytest.mark.parametrize("kind", PASSED_OVER)
def test_experts_outside_linear_layers_are_refused_unless_allowed(experts_folder, kind):
    reference = resolve_base(ModelSpec(base=str(experts_folder(kind))))
    found = read_architecture(reference, allow_unquantized_experts=True)
    total = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(experts_folder(kind)).parameters())
    assert found.unquantized_experts.startswith(
        f"{', '.join(passed_over(kind))} of {reference.location} are neither quantised nor adapted: "
        f"{PASSED_OVER[kind][1] / total:.1%} of all parameters, 0.0 GiB in bf16"
    )
    with pytest.raises(InputError, match=r"or set model\.allow_unquantized_experts to true") as caught:
        read_architecture(reference)
    assert found.unquantized_experts in str(caught.value)
    assert "\n" not in str(caught.value)


def test_experts_are_refused_on_an_unquantised_base_too(experts_folder):
    reference = resolve_base(ModelSpec(base=str(experts_folder("mixtral"))))
    with pytest.raises(InputError, match=r"where LoRA reaches them; .* are not adapted: ") as caught:
        read_architecture(reference, quantization=Quantization.NONE)
    assert "nf4" not in str(caught.value)


def test_size_of_experts_is_told_as_it_is(tmp_path, base_folder):
    shutil.copytree(base_folder(), tmp_path / "base")
    AutoConfig.for_model("mixtral").save_pretrained(tmp_path / "base")
    reference = resolve_base(ModelSpec(base=str(tmp_path / "base")))
    found = read_architecture(reference, allow_unquantized_experts=True)
    # Mixtral 8x7B: 45.1 of its 46.7 billion parameters.
    assert found.unquantized_experts.endswith("96.6% of all parameters, 84.0 GiB in bf16")


@pytest.mark.parametrize("kind", PASSED_OVER)
def test_what_is_told_of_experts_is_true_of_the_loaded_base(experts_folder, kind):
    spec = ModelSpec(base=str(experts_folder(kind)))
    reference = resolve_base(spec)
    found = read_architecture(reference, allow_unquantized_experts=True)
    model = load_base(spec, reference).model
    matrices = {name for name, p in model.named_parameters() if p.ndim > 1 and p.dtype is not torch.uint8}
    matrices -= {"model.embed_tokens.weight", "lm_head.weight"}
    assert {re.sub(r"\.\d\.", ".*.", name) for name in matrices} == set(passed_over(kind))
    inject_adapter_in_model(LoraConfig(r=4, target_modules=list(found.targets("all-linear"))), model)
    adapted = {name.partition(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A." in name}
    assert adapted == set(found.linear_layers)
    assert model(torch.arange(8).view(1, 8)).logits.isfinite().all()


def test_names_that_peft_takes_for_experts_are_no_targets(experts_folder):
    reference = resolve_base(ModelSpec(base=str(experts_folder("deepseek_v3"))))
    found = read_architecture(reference, allow_unquantized_experts=True)
    assert "nor are layers named down_proj, gate_proj, up_proj adapted" in found.unquantized_experts
    with pytest.raises(InputError, match="'gate_proj' matches none"):
        found.targets(("q_a_proj", "gate_proj"))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt_neox", "falcon", "mamba"])
def test_dense_bases_have_nothing_to_tell(base_folder, kind):
    assert read_architecture(resolve_base(ModelSpec(base=str(base_folder(kind))))).unquantized_experts is None


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
