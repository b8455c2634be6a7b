"""Packed decoding as it runs on a GPU: in Triton's kernels and in CUDA graphs."""

import functools

import pytest
import torch
from on_gpu import DEVICE, ON_GPU, SIZES
from peft_pair import Pair, draw_prompts, finish

from loratory.objectives.packing.decoding.decoder import BASE

pytestmark = ON_GPU
LONGEST, NEW_TOKENS = 150, 37
ENDS = tuple(range(7, SIZES["vocab_size"], 41))
PROMPTS = [
    prompt
    for slot in (BASE, 0, 1, 2)
    for prompt in draw_prompts(12, slot, longest=LONGEST, vocabulary=SIZES["vocab_size"])
]


@pytest.fixture(scope="module")
def make_pair(make_packed):
    @functools.cache
    def make(dtype):
        both = make_packed(device=DEVICE, dtype=dtype, initializer_range=0.08, **SIZES)
        return Pair(*both, ranks=(3, 16, 40), alphas=(6, 16, 20))

    return make


def answers_of(pair, *, graphs, rows):
    """Every answer, by key."""
    decoder = pair.decoder(graphs=graphs, rows=rows, ends=ENDS, max_new_tokens=NEW_TOKENS, longest=LONGEST)
    decoder.add(PROMPTS)
    answers = finish(decoder)
    assert {chunk.graph is not None for chunk in decoder._steps._chunks.values()} == {graphs}
    assert not decoder._prefill._runner._refused
    return answers


def test_answers_in_fp32_are_those_of_generate(make_pair):
    pair, kind = make_pair(torch.float32), {"near": 1e-3, "ends": ENDS, "max_new_tokens": NEW_TOKENS}
    answers = answers_of(pair, graphs=True, rows=16)
    assert pair.near_ties(answers, PROMPTS, **kind) <= len(PROMPTS) // 10
    assert len({len(ids) for ids in answers.values()}) > 3
    for graphs, rows in ((False, 8), (False, 16), (False, 64), (True, 3), (True, 8), (True, 64)):
        again = answers_of(pair, graphs=graphs, rows=rows)
        different = [prompt for prompt in PROMPTS if again[prompt.key] != answers[prompt.key]]
        assert pair.near_ties(again, different, **kind) == len(different)


def below_the_best(pair, answers):
    """How far a chosen token's logit ever is below the best one, in standard deviations of the logits."""
    furthest = 0.0
    for prompt in PROMPTS:
        ids = torch.tensor([*prompt.ids, *answers[prompt.key]], device=DEVICE)
        logits = pair.ask(prompt, lambda model, ids=ids: model(input_ids=ids.unsqueeze(0)).logits[0].float())
        logits, chosen = logits[len(prompt.ids) - 1 : -1], ids[len(prompt.ids) :].unsqueeze(1)
        if len(chosen):
            below = (logits.amax(1) - logits.gather(1, chosen).squeeze(1)) / logits.std(1)
            furthest = max(furthest, below.max().item())
    return furthest


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.2), (torch.float16, 0.03)], ids=str)
def test_tokens_in_half_precision_are_the_best_or_nearly(make_pair, dtype, limit):
    """It has too many near ties for a comparison with `generate`."""
    pair = make_pair(dtype)
    answers = answers_of(pair, graphs=True, rows=64)
    assert answers_of(pair, graphs=True, rows=64) == answers
    for made in (answers, answers_of(pair, graphs=False, rows=64)):
        assert below_the_best(pair, made) < limit
