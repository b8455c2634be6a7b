"""Wrong decoders, made from right ones by one change each, are found before anything is decoded."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from loratory.objectives.packing.attention import AttentionCall
from loratory.objectives.packing.compatibility import PackingProbe
from loratory.objectives.packing.decoding.apart import ApartDecoder, Generation
from loratory.objectives.packing.decoding.cache import DecodeLayout, KeyValueCache, why_not_cached
from loratory.objectives.packing.decoding.probe import DecodingProbe
from loratory.objectives.packing.decoding.rows import _Running
from loratory.objectives.packing.decoding.steps import DecodeSteps
from loratory.objectives.packing.kernels import cached_attention
from loratory.objectives.packing.linear import FrozenWeight
from loratory.objectives.packing.model import PackedModel

CPU = torch.device("cpu")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


@pytest.fixture(scope="module")
def make_probe(make_packed):
    made = {}

    def make(dtype, kind="llama"):
        if (dtype, kind) not in made:
            packed, reference = make_packed(kind, dtype=dtype)
            expected = PackingProbe(reference, CPU).reference
            made[dtype, kind] = DecodingProbe(expected, packed, padding_id=0)
        return made[dtype, kind]

    return make


def one_place_off(monkeypatch):
    write = KeyValueCache.write
    monkeypatch.setattr(
        KeyValueCache,
        "write",
        lambda self, layer, key, value, places: write(self, layer, key, value, places + 1),
    )


def another_row(monkeypatch):
    write = KeyValueCache.write

    def to_the_next_row(self, layer, key, value, places):
        moved = torch.where(
            places < self.padding_place, (places + self.positions) % self.padding_place, places
        )
        write(self, layer, key, value, moved)

    monkeypatch.setattr(KeyValueCache, "write", to_the_next_row)


def another_layer(monkeypatch):
    write = KeyValueCache.write
    monkeypatch.setattr(
        KeyValueCache, "write", lambda self, layer, key, value, places: write(self, 0, key, value, places)
    )


def position_off_by_one(monkeypatch):
    length = _Running.length.fget
    monkeypatch.setattr(_Running, "length", property(lambda self: length(self) + 1))


def positions_that_stand(monkeypatch):
    decode = DecodeSteps._decode

    def stay(self, chunk, steps, running=None):
        before = chunk.inputs.position_ids.clone()
        done = decode(self, chunk, 1, running)
        for step in range(1, steps):
            chunk.inputs.position_ids.copy_(before)
            first = chunk.output[0].clone()
            done += decode(self, chunk, 1, running)
            chunk.output[step].copy_(chunk.output[0])
            chunk.output[0].copy_(first)
        return done

    monkeypatch.setattr(DecodeSteps, "_decode", stay)


def nothing_cached(monkeypatch):
    def itself(self, call):
        return call.value.repeat_interleave(call.query.shape[1] // call.value.shape[1], dim=1)

    monkeypatch.setattr(DecodeLayout, "attend", itself)


def no_mask(monkeypatch):
    attend = cached_attention.attend_cached

    def all_of_the_row(call, keys, values, lengths):
        return attend(call, keys, values, torch.full_like(lengths, keys.shape[1] - 1))

    monkeypatch.setattr(cached_attention, "attend_cached", all_of_the_row)


def another_scale(monkeypatch):
    attend = DecodeLayout.attend

    def unscaled(self, call):
        return attend(self, AttentionCall(**{**vars(call), "scale": 2 * call.scale}))

    monkeypatch.setattr(DecodeLayout, "attend", unscaled)


def first_token_lost(monkeypatch):
    write = KeyValueCache.write

    def without(self, layer, key, value, places):
        write(self, layer, key, value, torch.where(places % self.positions == 0, self.padding_place, places))

    monkeypatch.setattr(KeyValueCache, "write", without)


MUTATIONS = [
    one_place_off,
    another_row,
    another_layer,
    position_off_by_one,
    positions_that_stand,
    nothing_cached,
    no_mask,
    another_scale,
    first_token_lost,
]


@DTYPES
@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen3"])
def test_a_right_cache_passes(make_probe, dtype, kind):
    assert make_probe(dtype, kind).why_not_cached() is None


def test_experts_that_rounding_exchanges_are_no_fault_of_the_cache():
    torch.manual_seed(0)
    sizes = {"vocab_size": 200, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 8}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("mixtral", **sizes, **heads))
    for matrix in (p for p in model.parameters() if p.ndim > 1):
        torch.nn.init.normal_(matrix, std=0.2)
    model = model.to(torch.bfloat16).eval()
    expected = PackingProbe(model, CPU).reference
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"]
    packed = PackedModel(
        model, names, device=CPU, compute_dtype=torch.bfloat16, frozen_weight=FrozenWeight.dense
    )
    assert expected._rounding > 0.1
    assert DecodingProbe(expected, packed, padding_id=0).why_not_cached() is None


@DTYPES
@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_wrong_cache_is_found(make_probe, monkeypatch, dtype, mutate):
    probe = make_probe(dtype)
    mutate(monkeypatch)
    assert probe.why_not_cached() is not None


@DTYPES
@pytest.mark.parametrize("generation", Generation)
def test_transformers_itself_passes(make_probe, dtype, generation):
    assert make_probe(dtype).why_not_generated(generation) is None


def test_padding_that_is_not_masked_is_found(make_probe, monkeypatch):
    probe = make_probe(torch.float32)
    generate = type(probe._packed.model).generate

    def unmasked(self, **given):
        return generate(self, **given | {"attention_mask": torch.ones_like(given["attention_mask"])})

    monkeypatch.setattr(type(probe._packed.model), "generate", unmasked)
    assert "logits differ" in probe.why_not_generated(Generation.PADDED)
    assert probe.why_not_generated(Generation.ONE_LENGTH) is None


def test_a_cache_of_transformers_that_forgets_is_found(make_probe, monkeypatch):
    from transformers.cache_utils import DynamicLayer

    probe = make_probe(torch.float32)
    update = DynamicLayer.update

    def forgets(self, keys, values, *rest, **more):
        update(self, keys, values, *rest, **more)
        return keys, values

    monkeypatch.setattr(DynamicLayer, "update", forgets)
    for generation in (Generation.PADDED, Generation.ONE_LENGTH):
        assert probe.why_not_generated(generation) is not None
    assert probe.why_not_generated(Generation.WITHOUT_CACHE) is None


def test_an_answer_of_another_prompt_is_found(make_probe, monkeypatch):
    probe, answer = make_probe(torch.float32), ApartDecoder._answer

    def swapped(self, slot, batch):
        made = answer(self, slot, batch)
        return [SimpleNamespace(key=a.key, ids=b.ids) for a, b in zip(made, reversed(made), strict=True)]

    monkeypatch.setattr(ApartDecoder, "_answer", swapped)
    assert "not those of their prompts" in probe.why_not_generated(Generation.PADDED)


def config(**sizes):
    text = SimpleNamespace(
        **{"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "num_key_value_heads": 2}
        | sizes
    )
    return SimpleNamespace(get_text_config=lambda: text)


def call(layer, *, key=(2, 8), value=(2, 8)):
    query, keys, values = torch.zeros(3, 4, 8), torch.zeros(3, *key), torch.zeros(3, *value)
    return AttentionCall(query=query, key=keys, value=values, scale=1.0, window=None, layer=layer)


@pytest.mark.parametrize(
    ("calls", "sizes", "reason"),
    [
        ([], {}, "do not call"),
        ([call(0), call(1, key=(2, 12))], {}, "keys of layer 1 are 2 heads x 12"),
        ([call(0), call(1, value=(2, 4))], {}, "its values 2 heads x 4"),
        ([call(0, key=(4, 8)), call(1)], {}, "keys of layer 0 are 4 heads x 8"),
        ([call(0)], {}, "of its 2 layers 1 attend"),
        ([call(0), call(1), call(1)], {}, "in 3 calls"),
        ([call(0), call(1)], {"num_attention_heads": 0}, "tells no one size"),
    ],
)
def test_the_cache_refuses_other_sizes_than_its_own(calls, sizes, reason):
    assert why_not_cached(config(), [call(0), call(1)]) is None
    assert reason in why_not_cached(config(**sizes), calls)


@pytest.mark.parametrize(("key", "value"), [((2, 12), (2, 12)), ((2, 8), (2, 4)), ((4, 8), (4, 8))])
def test_keys_of_other_sizes_are_never_written(key, value):
    cache = KeyValueCache(config(), pages=2, device=CPU, dtype=torch.float32)
    wrong = call(0, key=key, value=value)
    with pytest.raises(ValueError, match="cache: keys and values must have 2 heads x 8"):
        cache.write(0, wrong.key, wrong.value, torch.arange(3))
    with pytest.raises(ValueError, match="cache: keys and values must have 2 heads x 8"):
        DecodeLayout(cache, torch.zeros(3, dtype=torch.int32), torch.zeros(3, 1, dtype=torch.int32)).attend(
            wrong
        )
