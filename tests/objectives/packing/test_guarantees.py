"""The guarantees of a pack: a trial computes what it would compute alone, whatever its neighbours are."""

import os
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trials_in_packs import (
    MODULES,
    RANK,
    TINY,
    WHOLE,
    Trial,
    alone,
    new_pack,
    packed,
    train,
)

from loratory.objectives.packing.batch import train_pass
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import named
from loratory.objectives.packing.update_rules import ADAMW, LoraPlus

PACKS = int(os.environ.get("LORATORY_PACKS", "25"))


def assert_close(got, wanted, relative):
    difference, size = (got - wanted).norm(), wanted.norm()
    assert difference <= relative * size, f"{difference / size:.1e}"


@pytest.fixture(scope="module")
def fp64(load_reference):
    return packed(load_reference(**TINY), torch.float64)


@pytest.fixture(scope="module")
def fp32(load_reference):
    return packed(load_reference(**TINY), torch.float32)


SATURATED = Trial(seed=2**31, rank=14, scaling=4.0, learning_rate=1e-2, batch_size=1, updates=1, longest=9)
trials_of_a_pack = st.lists(
    st.builds(
        Trial,
        seed=st.integers(0, 2**31),
        rank=st.integers(1, RANK),
        modules=st.lists(st.sampled_from(MODULES), min_size=1, unique=True).map(tuple),
        scaling=st.sampled_from([0.1, 1.0, 2.0, 4.0]),
        dropout=st.sampled_from([0.0, 0.1, 0.5]),
        weight_decay=st.sampled_from([0.0, 0.1, 3.0]),
        max_grad_norm=st.sampled_from([None, 0.01, 1.0]),
        rule=st.sampled_from([ADAMW, ADAMW, LoraPlus(4.0)]),
        learning_rate=st.sampled_from([1e-4, 1e-3, 1e-2]),
        batch_size=st.integers(1, 4),
        updates=st.integers(1, 4),
        longest=st.integers(2, 20),
        arrives=st.integers(0, 6),
        leaves_after=st.none() | st.integers(1, 5),
        interrupted_after=st.none() | st.integers(1, 5),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def careful_adamw():
    """AdamW with a larger epsilon.

    It divides a gradient by that gradient's size. Where one is hardly more than the rounding error of the sum
    that it comes from (queries whose attention is saturated), its usual 1e-8 makes a step of that error.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loratory.objectives.packing.update_rules.EPSILON", 1e-4)
        yield


@pytest.mark.usefixtures("careful_adamw")
@settings(max_examples=PACKS, deadline=None)
@given(trials=trials_of_a_pack, slots=st.integers(1, 5), tokens=st.sampled_from([8, 24, 60, 200]))
@example(trials=[Trial(seed=0, dropout=0.1), SATURATED], slots=1, tokens=8)
def test_every_trial_is_as_if_alone(fp64, trials, slots, tokens):
    for trial, updates in zip(trials, train(fp64, trials, slots=slots, tokens=tokens), strict=True):
        stayed = trial.leaves_after is None
        assert len(updates) == trial.updates if stayed else len(updates) <= trial.updates
        for mine, theirs in zip(updates, alone(fp64, trial), strict=stayed):
            for name, matrix in theirs[0].items():
                assert_close(mine[0][name], matrix, 1e-10)
            assert mine[1:] == pytest.approx(theirs[1:], rel=1e-10)


MIXED = (
    Trial(seed=1, rank=4, batch_size=4, dropout=0.2, scaling=2.0),
    Trial(seed=2, rank=16, batch_size=2, modules=("q_proj", "down_proj")),
    Trial(seed=3, rank=5, batch_size=3, longest=30, dropout=0.5),
    Trial(seed=4, rank=8, batch_size=1, longest=4),
)


def gradients(model, trials, *, tokens):
    """Gradient of each trial's first batch, as a row [P], and the losses."""
    pack, dtype = new_pack(model, slots=len(trials)), torch.promote_types(model.compute_dtype, torch.float32)
    batches = {slot: trial.batch(0) for slot, trial in enumerate(trials)}
    for slot, trial in enumerate(trials):
        pack.put(slot, SlotState(matrices=trial.adapter(model.layers, dtype)), trial.settings)
    while waiting := {slot: batch for slot, batch in batches.items() if not batch.done}:
        train_pass(pack, waiting, tokens=tokens)
    return pack.gradients.flat.clone(), pack._losses.clone()


@pytest.mark.parametrize("tokens", [20, WHOLE])
def test_gradients_in_fp32_are_those_of_the_trial_alone(fp32, tokens):
    together, losses = gradients(fp32, MIXED, tokens=tokens)
    stack = new_pack(fp32, slots=1).stack
    for slot, trial in enumerate(MIXED):
        own, loss = gradients(fp32, [trial], tokens=WHOLE)
        like = trial.adapter(fp32.layers, torch.float32)
        mine, theirs = (named(stack.compact(row, like), like) for row in (together[slot], own[0]))
        for name, gradient in theirs.items():
            assert_close(mine[name], gradient, 1e-5)
        assert float(losses[slot]) == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.usefixtures("careful_adamw")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_on_an_unquantised_base_every_trial_is_as_if_alone(load_reference, dtype):
    model = packed(load_reference(quantization="none", **TINY), dtype)
    assert model.held_bytes == 0
    trials = [
        replace(MIXED[0], rule=LoraPlus(4.0), max_grad_norm=1.0),
        replace(MIXED[1], weight_decay=0.1, arrives=2),
        replace(MIXED[2], interrupted_after=2),
        MIXED[3],
    ]
    exact = dtype is torch.float64
    for trial, updates in zip(trials, train(model, trials, slots=3, tokens=24), strict=True):
        for mine, theirs in zip(updates, alone(model, trial), strict=True):
            for name, matrix in theirs[0].items():
                assert_close(mine[0][name], matrix, 1e-10 if exact else 1e-4)
            assert mine[1:] == pytest.approx(theirs[1:], rel=1e-10 if exact else 1e-4)
    together, _ = gradients(model, MIXED, tokens=20)
    for slot, trial in enumerate(MIXED):
        own, _ = gradients(model, [trial], tokens=WHOLE)
        assert_close(together[slot], own[0], 1e-13 if exact else 1e-5)


def test_in_bf16_neighbours_change_no_more_than_another_cut_does(load_reference, fp32):
    model = packed(load_reference(**TINY), torch.bfloat16)
    trials = [replace(trial, batch_size=6, longest=30) for trial in MIXED]

    def each(model, tokens):
        return torch.cat([gradients(model, [trial], tokens=tokens)[0] for trial in trials])

    exact, whole, cut = each(fp32, WHOLE), each(model, WHOLE), each(model, 1)
    assert 0 < (cut - whole).norm() < 0.01 * whole.norm()
    for tokens in (160, 320, WHOLE):
        together, _ = gradients(model, trials, tokens=tokens)
        assert (together - whole).norm() <= 1.5 * (cut - whole).norm()
        assert (together - exact).norm() <= 1.05 * (whole - exact).norm()


def test_loss_and_gradient_do_not_depend_on_the_cut_into_passes(fp64):
    trial = replace(MIXED[0], batch_size=6)
    whole, loss = gradients(fp64, [trial], tokens=WHOLE)
    for tokens in (1, 17, 40):
        cut, same_loss = gradients(fp64, [trial], tokens=tokens)
        assert_close(cut, whole, 1e-13)
        assert_close(same_loss, loss, 1e-14)


class Pair:
    """Two trials on a pack, a pass or an update at a time."""

    def __init__(self, model, *trials):
        self.pack, self.trials = new_pack(model, slots=len(trials)), trials
        self.step = [0] * len(trials)
        self.batches = {}
        for slot, trial in enumerate(trials):
            state = SlotState(matrices=trial.adapter(model.layers, self.pack.stack.master.dtype))
            self.pack.put(slot, state, trial.settings)

    def passes(self, count=1, tokens=WHOLE):
        for _ in range(count):
            waiting = {
                slot: self.batches.setdefault(slot, trial.batch(self.step[slot]))
                for slot, trial in enumerate(self.trials)
            }
            train_pass(self.pack, {s: b for s, b in waiting.items() if not b.done}, tokens=tokens)

    def update(self, *slots):
        made = []
        for slot in slots:
            assert self.batches.pop(slot).done
            made.append(self.pack.update(slot, self.trials[slot].learning_rate))
            self.step[slot] += 1
        return made

    def train(self, count):
        """The last slot's losses, norms and matrices over some updates."""
        made = []
        for _ in range(count):
            self.passes()
            gradient = self.pack.gradients.flat[-1].clone()
            # The last slot first, while the others' gradients are still there.
            result = self.update(*reversed(range(len(self.trials))))[0]
            made += [gradient, result, self.pack.stack.master[-1].clone()]
        return made


def assert_same(got, wanted):
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(got, wanted, strict=True))


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_what_is_not_finite_in_one_slot_reaches_no_other(fp32, poison, dropout):
    trials = Trial(seed=1, dropout=dropout), Trial(seed=2, dropout=dropout)
    expected = Pair(fp32, *trials).train(3)
    pair = Pair(fp32, *trials)
    pair.pack.stack.master[0].fill_(poison)
    got = pair.train(3)
    assert not pair.pack.stack.master[0].isfinite().any()
    assert all(tensor.isfinite().all() for tensor in expected)
    assert_same(got, expected)


def test_each_slot_is_clipped_by_its_own_norm(fp32):
    small = Trial(seed=2, max_grad_norm=0.5)
    expected = Pair(fp32, Trial(seed=1, max_grad_norm=0.5), small).train(3)
    huge = Pair(fp32, Trial(seed=1, max_grad_norm=0.5), small)
    huge.pack.stack.scaling[0] *= 1e4
    assert_same(huge.train(3), expected)


def test_an_update_divides_by_the_norm_that_it_reports(fp32):
    free, held = (Pair(fp32, Trial(seed=1, max_grad_norm=limit)) for limit in (None, 0.25))
    seen = []
    for pair in (free, held):
        pair.passes()
        gradient, optimizer = pair.pack.gradients.flat[0].clone(), pair.pack.optimizer(0)
        (result,) = pair.update(0)
        seen.append((gradient.norm(), result[1], optimizer.moments()["exp_avg"].norm() * 10))
    (norm, reported, moved), (same, unclipped, clipped) = seen
    assert float(norm) > 1 and norm == same
    for value in (reported, moved, unclipped):
        assert float(value) == pytest.approx(float(norm), rel=1e-5)
    assert float(clipped) == pytest.approx(0.25, rel=1e-4)


def test_a_refilled_slot_is_as_a_fresh_one(fp32):
    old, new, beside = Trial(seed=1, dropout=0.3, weight_decay=1.0), Trial(seed=2, rank=3), Trial(seed=3)
    used = Pair(fp32, old, beside)
    used.train(2)
    used.pack.stack.master[0].fill_(float("nan"))
    used.passes()  # its gradients and losses are left in the middle of a batch
    used.update(1)
    used.pack.clear(0)
    state = SlotState(matrices=new.adapter(fp32.layers, torch.float32))
    used.pack.put(0, state, new.settings)
    assert not used.pack.gradients.flat[0].any() and not used.pack._losses[0].any()
    assert used.pack.optimizer(0).moments() == {}
    used.trials, used.step = (new, beside), [0, 3]
    used.batches.clear()
    fresh = Pair(fp32, new, beside)
    for pair in (used, fresh):
        pair.step[1] = 3
        pair.passes()
        pair.made = pair.update(0)[0], pair.pack.stack.master[0].clone()
    assert_same(used.made, fresh.made)
    assert float(used.pack.optimizer(0).moments()["step"]) == 1


def test_a_trial_in_the_middle_of_its_batch_is_not_moved_by_its_neighbours_updates(fp32):
    slow = Trial(seed=1, batch_size=16, longest=20, weight_decay=1.0)
    pair = Pair(fp32, slow, Trial(seed=2, batch_size=1, longest=4))
    before = pair.pack.stack.master.clone()
    moved = 0
    while not pair.batches or not pair.batches[0].done:
        pair.passes(tokens=32)
        if pair.batches[1].done and not pair.batches[0].done:
            pair.update(1)
            moved += 1
    assert moved >= 3
    assert torch.equal(pair.pack.stack.master[0], before[0])
    assert not torch.equal(pair.pack.stack.master[1], before[1])


def test_padding_of_ranks_and_layers_that_are_no_targets_stay_exactly_zero(fp32):
    trials = (
        Trial(seed=1, rank=3, weight_decay=1.0, dropout=0.3),
        Trial(seed=2, rank=8, modules=("v_proj", "up_proj"), weight_decay=1.0),
    )
    pair = Pair(fp32, *trials)
    stack = pair.pack.stack
    ones = [{n: torch.ones_like(m) for n, m in t.adapter(fp32.layers).items()} for t in trials]
    own = torch.stack([stack.flatten(state) for state in ones]).bool()
    pair.train(20)
    pair.passes()
    assert stack.master[own].all() and pair.pack.gradients.flat[own].all()
    assert not stack.master[~own].any() and not pair.pack.gradients.flat[~own].any()
    for layer in fp32.layers:
        a, b = (m[1] for m in stack.matrices(stack.master, layer))
        if layer.endswith(("v_proj", "up_proj")):
            assert a[:8].all() and b[:8].all() and not a[8:].any() and not b[8:].any()
        else:
            assert not a.any() and not b.any()


@pytest.mark.parametrize("held", [False, True])
def test_the_base_is_unchanged_to_the_bit(load_reference, held):
    reference = load_reference(**TINY)
    quantized = {n: m.weight for n, m in reference.named_modules() if n.rpartition(".")[2] in MODULES}
    model = packed(reference, torch.float32)
    if held:
        model.hold_base()

    def tensors():
        layers = {name: model.model.get_submodule(name) for name in quantized}
        return [
            *(tensor for weight in quantized.values() for tensor in (weight.data, weight.quant_state.absmax)),
            *(layer.frozen() for layer in layers.values()),
            *(layer.frozen.held for layer in layers.values() if held),
            *model.model.state_dict().values(),
        ]

    before = [tensor.clone() for tensor in tensors()]
    assert sum(tensor.dtype is torch.uint8 for tensor in before) >= 14
    Pair(model, Trial(seed=1, weight_decay=1.0), Trial(seed=2, dropout=0.5)).train(4)
    assert_same(tensors(), before)
