"""Heads of models that change their logits compute in pieces what they compute at once."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from loratory.objectives.packing.loss import chunk_of_targets
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.pack import Pack
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import Piece
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.base.formats.none import NONE

CPU, VOCABULARY = torch.device("cpu"), 160
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "ffn_dim": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "initializer_range": 0.15,
}
KINDS = {
    "llama": {},
    "granite": {"logits_scaling": 3.0},
    "cohere": {"logit_scale": 0.25},
    "gemma2": {"head_dim": 8, "final_logit_softcapping": 5.0},
    "opt": {"word_embed_proj_dim": 32},
    "gpt_neox": {},
}


@pytest.fixture(scope="module")
def make_pack():
    def make(kind, dtype=torch.float64):
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **SIZES | KINDS[kind])
        model = AutoModelForCausalLM.from_config(config)
        model = model.to(dtype).eval().requires_grad_(False)
        head = model.get_output_embeddings()
        layers = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
        packed = PackedModel(
            model,
            layers,
            device=CPU,
            compute_dtype=dtype,
            frozen_weight=NONE.frozen_weight,
        )
        packed._plain_head = False
        if kind == "gemma2":  # its attention caps its scores
            packed.keep_rows_apart()
        stack = AdapterStack(packed.layers, slots=2, rank=8, device=CPU, compute_dtype=dtype)
        stack.master.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
        return Pack(packed, stack, PassRunner(CPU, graphs=False), dropout=False)

    return make


def pieces():
    draw = torch.Generator().manual_seed(2)
    ids = [torch.randint(VOCABULARY, (90,), generator=draw).tolist() for _ in range(2)]
    return [
        Piece(slot=slot, input_ids=one[:-1], first=4, targets=one[5:], weight=0.1 + slot)
        for slot, one in enumerate(ids)
    ]


def trained(pack):
    """Losses and gradients of a pass."""
    pack._losses.zero_()
    pack.gradients.flat.zero_()
    pack.train(pieces())
    return pack._losses.clone(), pack.gradients.flat.clone()


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_the_whole(make_pack, kind):
    pack = make_pack(kind)
    whole = trained(pack)
    assert pack.model._own_head.in_pieces is True
    sizes = []
    head = pack.model.model.get_output_embeddings()
    head.register_forward_hook(lambda *call: sizes.append(call[2].shape[1]))
    pack.model.logits_per_chunk = 64 * VOCABULARY
    for got, wanted in zip(trained(pack), whole, strict=True):
        # Their norms compute in fp32, and weights of losses are fp32.
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-7)
    assert sizes == [1, 64, 64, 2 * 85 - 128] and whole[1].any()
    host = pack.lay_out(pieces())
    with torch.no_grad(), pack.model.enter_pass(host.inputs, pack.stack):
        loss, losses = pack.model.losses(host.inputs)
    assert float(loss) == pytest.approx(float(whole[0].sum()), rel=1e-6) and losses.isfinite().all()
    assert vars(pack.model.model.get_decoder()).get("forward") is None


def test_a_head_whose_rows_depend_on_each_other_is_computed_at_once(make_pack):
    pack = make_pack("llama")
    own = pack.model.model.lm_head.forward
    pack.model.model.lm_head.forward = lambda x: own(x) + x.mean()
    whole = trained(pack)
    assert pack.model._own_head.in_pieces is False
    pack.model.logits_per_chunk = 1
    for got, wanted in zip(trained(pack), whole, strict=True):
        assert torch.equal(got, wanted)


def test_a_head_with_an_adapted_layer_before_it_is_computed_at_once(make_pack):
    pack = make_pack("llama")
    pack.model._own_head._packed += ("projection",)
    trained(pack)
    assert pack.model._own_head.in_pieces is False


def test_chunks_are_whole_tiles():
    assert [chunk_of_targets(v) for v in (32_000, 128_256, 262_144)] == [4096, 1024, 512]
    assert [chunk_of_targets(v, 1 << 24) for v in (32_000, 128_256, 500_000)] == [512, 128, 64]
