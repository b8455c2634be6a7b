"""Packs as they train on a GPU: in Triton's kernels, with fused layers, in CUDA graphs."""

import functools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from on_gpu import DEVICE, ON_GPU, SIZES, relative
from peft_pair import Pair, draw_prompts

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.batch import OptimizerBatch, train_pass
from loratory.objectives.packing.fused import fuse
from loratory.objectives.packing.pack import Pack, Settings
from loratory.objectives.packing.passes import lay_out
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import Piece, exact_shape
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import FILE_PREFIX, AdapterStack

pytestmark = ON_GPU
SLOTS, RANK, TOKENS = 8, 16, 4096
EVERY = range(SLOTS)


@pytest.fixture(scope="module")
def base(make_packed):
    """A function: number format, and whether layers are fused, to a packed base."""

    @functools.cache
    def base(dtype=torch.float32, *, fused=True):
        packed, _ = make_packed(device=DEVICE, dtype=dtype, fused=fused, initializer_range=0.02, **SIZES)
        return packed

    return base


@pytest.fixture(scope="module")
def unquantized(make_packed):
    """A function: number format to a packed base that is not quantised, and the same in transformers."""

    @functools.cache
    def unquantized(dtype):
        options = {"device": DEVICE, "dtype": dtype, "fused": True, "quantization": "none"}
        return make_packed(**options, initializer_range=0.02, **SIZES)

    return unquantized


def adapter(layers, seed):
    draw = torch.Generator().manual_seed(seed)
    return {
        f"{FILE_PREFIX}{name}.lora_{matrix}.weight": torch.randn(shape, generator=draw) * 0.05
        for name, (inputs, outputs) in layers.items()
        for matrix, shape in (("A", (RANK, inputs)), ("B", (outputs, RANK)))
    }


def batch(seed, *, dropout):
    draw = random.Random(seed)

    def ids(most):
        return tuple(draw.choices(range(SIZES["vocab_size"]), k=draw.randint(2, most)))

    examples = [
        Example(example_id="", group="", prompt="", reference="", prompt_ids=ids(150), answer_ids=ids(350))
        for _ in range(4)
    ]
    return OptimizerBatch(examples, seed=seed, step=0, dropout=dropout)


def full_pack(model, *, dropout=0.0, graphs=False):
    stack = AdapterStack(
        model.layers, slots=SLOTS, rank=RANK, device=DEVICE, compute_dtype=model.compute_dtype
    )
    pack = Pack(model, stack, PassRunner(DEVICE, graphs=graphs), dropout=dropout > 0)
    for slot in EVERY:
        state = SlotState(matrices=adapter(model.layers, slot))
        pack.put(slot, state, Settings(scaling=1.0 + slot / 4, dropout=dropout))
    return pack


def gradients(model, slots, *, tokens=TOKENS, dropout=0.0, graphs=False):
    """Gradients [K, P] and losses [K] of a batch of some slots, in a pack whose slots are all taken."""
    pack = full_pack(model, dropout=dropout, graphs=graphs)
    batches = {slot: batch(slot, dropout=dropout > 0) for slot in slots}
    while waiting := {slot: batch for slot, batch in batches.items() if not batch.done}:
        train_pass(pack, waiting, tokens=tokens)
    assert bool(pack.runner._captured) == graphs and not pack.runner._refused
    return pack.gradients.flat, pack._losses


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize(("slot", "tokens"), [(0, TOKENS), (5, TOKENS // 8)])
def test_gradients_in_fp32_are_those_of_the_trial_alone(base, slot, tokens, dropout):
    together, losses = gradients(base(), EVERY, dropout=dropout)
    alone, loss = gradients(base(), [slot], tokens=tokens, dropout=dropout)
    assert relative(together[slot], alone[slot]) < 1e-5
    assert relative(losses[slot], loss[slot]) < 1e-5
    assert not alone[[other for other in EVERY if other != slot]].any()


def test_gradients_in_fp32_do_not_depend_on_the_cut_into_passes(base):
    whole, _ = gradients(base(), EVERY)
    cut, _ = gradients(base(), EVERY, tokens=TOKENS // 8)
    assert relative(cut, whole) < 1e-5


def test_fused_layers_are_those_of_transformers(base):
    pytest.importorskip("liger_kernel")
    fused, plain = base(fused=True), base(fused=False)
    assert any(module.forward.__module__ == fuse.__module__ for module in fused.model.modules())
    mine, theirs = (gradients(model, EVERY)[0] for model in (fused, plain))
    assert relative(mine, theirs) < 1e-5


def test_graphs_in_bf16_are_as_near_as_bf16_allows(base):
    exact, _ = gradients(base(), EVERY)
    eager, losses = gradients(base(torch.bfloat16), EVERY)
    graph, same_losses = gradients(base(torch.bfloat16), EVERY, graphs=True)
    alone, _ = gradients(base(torch.bfloat16), [2])
    # Every layer rounds its activations to eight bits, and what it rounds away adds up over the layers.
    assert relative(eager, exact) < 0.1
    assert relative(graph, eager) < 1e-2 and relative(same_losses, losses) < 1e-2
    assert relative(graph[2], alone[2]) < 1e-2


def test_a_base_held_is_the_base_read_in_each_pass(base):
    model = base(torch.bfloat16)
    read, _ = gradients(model, EVERY, graphs=True)
    model.hold_base()
    held, _ = gradients(model, EVERY, graphs=True)
    model.release_base()
    # The same numbers, but flash attention's backward adds them up in any order.
    assert relative(held, read) < 2e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_gradients_on_an_unquantised_base_are_those_of_the_trial_alone(unquantized, dtype, tolerance):
    model, _ = unquantized(dtype)
    assert model.held_bytes == 0
    together, losses = gradients(model, EVERY, graphs=dtype is torch.bfloat16)
    alone, loss = gradients(model, [5])
    assert relative(together[5], alone[5]) < tolerance
    assert relative(losses[5], loss[5]) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_logits_on_an_unquantised_base_are_those_of_peft(unquantized, dtype, tolerance):
    pair = Pair(*unquantized(dtype))
    prompts = [draw_prompts(2, slot, longest=40, vocabulary=SIZES["vocab_size"])[1] for slot in range(3)]
    pieces = [Piece(slot=p.slot, input_ids=p.ids, first=0, targets=p.ids) for p in prompts]
    host = lay_out(pieces, exact_shape(pieces, slots=3, granule=32))

    @torch.no_grad()
    def logits_of(inputs):
        with pair.packed.enter_pass(inputs, pair.stack):
            return pair.packed.logits(inputs)

    logits = PassRunner(DEVICE, graphs=False).run("logits", host, logits_of)
    for prompt, start in zip(prompts, host.target_starts, strict=True):
        ids = torch.tensor([prompt.ids], device=DEVICE)
        expected = pair.ask(prompt, lambda model, ids=ids: model(input_ids=ids).logits[0])
        assert relative(logits[start : start + len(prompt.ids)], expected) < tolerance


def test_a_copy_that_a_thread_fetches_is_of_the_moment(base):
    pack = full_pack(base(torch.bfloat16), graphs=True)
    like = adapter(pack.model.layers, 0)
    with ThreadPoolExecutor(1) as thread:
        # PyTorch deals out 32 streams in turn: a copy must never be on the one that captures.
        for _ in range(40):
            thread.submit(pack.copy(0, like, moments=False).fetch).result()
        for count in (1, 2, 4, 8):  # each a shape of its own, captured while the copy is fetched
            taken = pack.take(0, like, moments=True)
            fetched = thread.submit(pack.copy(0, like, moments=True).fetch)
            train_pass(pack, {slot: batch(slot, dropout=False) for slot in range(count)}, tokens=TOKENS)
            for slot in range(count):
                pack.update(slot, 1e-2)
            copied = fetched.result()
            for mine, theirs in (
                (copied.matrices, taken.matrices),
                *((copied.moments[name], taken.moments[name]) for name in taken.moments if name != "step"),
            ):
                assert all(torch.equal(mine[name], matrix) for name, matrix in theirs.items())
            assert copied.moments.keys() == taken.moments.keys()
    assert len(pack.runner._captured) > 1
