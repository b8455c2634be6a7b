"""Bases that see what they should predict, and packs whose sequences see each other, are found."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from loratory.objectives.packing.attention import PaddedLayout
from loratory.objectives.packing.compatibility import PackingProbe, rope_switches
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.probe import Reference

CPU = torch.device("cpu")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
SIZES = {
    "vocab_size": 99,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}


def model_of(kind, dtype=torch.float32, **changes):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES | changes)).to(dtype).eval()


def why_not_causal(model, dtype):
    return Reference(model, CPU).why_not_causal(model, dtype)


@DTYPES
@pytest.mark.parametrize(
    ("kind", "changes"), [("llama", {}), ("mixtral", EXPERTS), ("bert", {"is_decoder": True})]
)
def test_decoders_are_causal(kind, changes, dtype):
    assert why_not_causal(model_of(kind, dtype, **changes), dtype) is None


@DTYPES
@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_encoders_are_not(kind, dtype):
    assert why_not_causal(model_of(kind, dtype, max_position_embeddings=80), dtype).endswith("%")


@DTYPES
def test_a_missing_mask_is_found(dtype):
    model = model_of("llama", dtype)
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    assert why_not_causal(model, dtype) is not None


@DTYPES
def test_a_glance_at_the_next_token_is_found(dtype):
    """However small what it changes is, the gradient is not zero."""
    model = model_of("llama", dtype)
    embedding, forward = model.get_input_embeddings(), model.forward

    def glances(input_ids, **given):
        embedded = embedding(input_ids)
        embedded = embedded + 1e-2 * embedded.roll(-1, dims=1)
        return forward(inputs_embeds=embedded, **given)

    model.forward = glances
    assert why_not_causal(model, dtype) is not None


@DTYPES
@pytest.mark.parametrize("prompt", [2, 4, 7])
def test_a_prompt_whose_tokens_see_each_other_is_found(dtype, prompt):
    """As of models that read a prefix in both directions; the last token changes nothing."""
    model = model_of("llama", dtype)
    embedding, forward = model.get_input_embeddings(), model.forward

    def sees_the_prompt(input_ids, **given):
        embedded = embedding(input_ids)
        return forward(inputs_embeds=embedded + embedded[:, :prompt].mean(1, keepdim=True), **given)

    model.forward = sees_the_prompt
    assert why_not_causal(model, dtype).startswith("token ")


def test_infinite_logits_are_found():
    model = model_of("llama")
    assert Reference(model, CPU).finite
    model.lm_head.weight.data[3] = float("nan")
    assert not Reference(model, CPU).finite


def test_logits_of_another_shape_are_refused():
    model = model_of("llama")
    forward = model.forward

    def pooled(**given):
        output = forward(**given)
        output.logits = output.logits[:, -1:]
        return output

    model.forward = pooled
    with pytest.raises(ValueError, match=r"logits: must be of shape \(1, \d+, vocabulary\)"):
        Reference(model, CPU)


def test_a_window_is_exceeded_where_the_data_exceeds_it():
    model = model_of("mistral", sliding_window=30)
    longest = {None: 11, 30: 11, 50: 31}
    for data, expected in longest.items():
        assert len(Reference(model, CPU, longest=data).sequences[0].prompt) == expected


@pytest.fixture(scope="module")
def make_both(make_packed):
    made = {}

    def make(dtype):
        if dtype not in made:
            packed, reference = make_packed("llama", dtype=dtype)
            made[dtype] = packed, PackingProbe(reference, CPU)
        return made[dtype]

    return make


@DTYPES
def test_a_right_pack_passes(make_both, dtype):
    packed, probe = make_both(dtype)
    assert probe.why_not(packed) is None
    assert {call.layer for call in probe.calls} == {0, 1}
    assert probe.why_not_trained(packed) is None


def leak(monkeypatch):
    monkeypatch.setattr(
        PackedModel, "layout", lambda self, inputs: PaddedLayout.of([0, inputs.shape.tokens], self.device)
    )


def running_positions(monkeypatch):
    def call(self, module, inputs):
        positions = torch.arange(inputs.shape.tokens).unsqueeze(0)
        return module(input_ids=inputs.input_ids, position_ids=positions, use_cache=False)

    monkeypatch.setattr(PackedModel, "_call", call)


def places_off_by_one(monkeypatch):
    logits = PackedModel._logits

    def shifted(self, inputs):
        inputs.places.add_(1)
        return logits(self, inputs)

    monkeypatch.setattr(PackedModel, "_logits", shifted)


def no_mask(monkeypatch):
    def attend(self, call):
        q, k, v = (x[self.rows].transpose(1, 2) for x in (call.query, call.key, call.value))
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=call.scale)
        return out.transpose(1, 2).flatten(0, 1)[self.back]

    monkeypatch.setattr(PaddedLayout, "attend", attend)


@DTYPES
@pytest.mark.parametrize("mutate", [leak, places_off_by_one, no_mask])
def test_a_wrong_pack_is_found(make_both, monkeypatch, dtype, mutate):
    packed, probe = make_both(dtype)
    mutate(monkeypatch)
    assert "logits differ" in probe.why_not(packed)


def test_positions_that_do_not_matter_to_rotary_embeddings_are_let_pass(make_both, monkeypatch):
    """Only their distances count, and these are right."""
    packed, probe = make_both(torch.float32)
    running_positions(monkeypatch)
    assert probe.why_not(packed) is None


LONGROPE = {"rope_type": "longrope", "original_max_position_embeddings": 32}


@pytest.mark.parametrize(
    ("kind", "rope", "expected"),
    [
        ("llama", {"rope_type": "default"}, []),
        ("llama", {"rope_type": "dynamic", "factor": 2.0}, [("dynamic", 64)]),
        ("phi3", LONGROPE | {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}, [("longrope", 32)]),
    ],
)
def test_rotary_embeddings_that_switch_say_where(kind, rope, expected):
    switch = {"original_max_position_embeddings": 32}
    config = AutoConfig.for_model(kind, **SIZES, **switch, rope_parameters={"rope_theta": 1e4} | rope)
    assert [*rope_switches(config)] == expected


@pytest.mark.parametrize(("longest", "packs"), [(32, True), (33, False), (None, False)])
def test_longrope_is_packed_below_its_switch(longest, packs):
    from loratory.objectives.packing.linear import FrozenWeight

    rope = LONGROPE | {"rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    model = model_of("phi3", rope_parameters=rope, original_max_position_embeddings=32)
    probe = PackingProbe(model, CPU, longest=longest)
    head = model.get_output_embeddings()
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    packed = PackedModel(
        model, names, device=CPU, compute_dtype=torch.float32, frozen_weight=FrozenWeight.dense
    )
    assert (probe.why_not(packed) is None) == packs
    if not packs:
        packed.keep_rows_apart(alone=probe.depends_on_lengths)
        assert probe.why_not_apart(packed) is None
