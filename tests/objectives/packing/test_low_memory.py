"""Packs that save memory compute what others do: checkpointed activations, moments offloaded or in 8 bits."""

import contextlib
import itertools
from dataclasses import replace

import pytest
import torch
from trials_in_packs import TINY, WHOLE, Trial, alone, new_pack, packed, train

from loratory.objectives.packing import moments
from loratory.objectives.packing.batch import train_pass
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.update_rules import LoraPlus
from loratory.objectives.qlora.base.loading import checkpoint_activations

TRIALS = [
    Trial(seed=1, rank=4, batch_size=4, dropout=0.2, scaling=2.0, rule=LoraPlus(4.0), max_grad_norm=1.0),
    Trial(seed=2, rank=16, batch_size=2, modules=("q_proj", "down_proj"), weight_decay=0.1, arrives=2),
    Trial(seed=3, rank=5, batch_size=3, longest=30, dropout=0.5, interrupted_after=2, updates=4),
]
SAVING = [case for case in itertools.product((False, True), repeat=2) if any(case)]
"""Pairs: moments offloaded or not, activations checkpointed or not."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Rows of some ten pieces."""
    monkeypatch.setattr(moments, "PIECE_NUMBERS", 1024)


@pytest.fixture(scope="module")
def fp64(load_reference):
    return packed(load_reference(**TINY), torch.float64)


@pytest.fixture(scope="module")
def fp16(load_reference):
    return packed(load_reference(dtype=torch.float16, **TINY), torch.float16)


@contextlib.contextmanager
def checkpointing(model, enabled):
    checkpoint_activations(model.model, enabled=enabled)
    try:
        yield
    finally:
        checkpoint_activations(model.model, enabled=False)


def trained(model, *, checkpoints=False, **options):
    with checkpointing(model, checkpoints):
        return train(model, TRIALS, slots=2, tokens=60, **options)


def assert_near(updates, wanted, trial, model, relative):
    """Updates are near others, by the way that the matrices have made."""
    assert len(updates) == len(wanted) == trial.updates
    start = trial.adapter(model.layers)
    for mine, theirs in zip(updates, wanted, strict=True):
        for name, matrix in theirs[0].items():
            assert (mine[0][name] - matrix).norm() <= relative * (matrix - start[name]).norm()
        assert mine[1:] == pytest.approx(theirs[1:], rel=relative)


@pytest.mark.parametrize(("offload", "checkpoints"), SAVING)
def test_offloading_and_checkpointing_change_nothing_in_fp64(fp64, offload, checkpoints):
    wanted = trained(fp64)
    for trial, mine, theirs in zip(
        TRIALS, trained(fp64, offload=offload, checkpoints=checkpoints), wanted, strict=True
    ):
        assert_near(mine, theirs, trial, fp64, 1e-10)


@pytest.mark.parametrize(("offload", "checkpoints"), [(False, False), *SAVING])
def test_eight_bits_are_near_and_the_same_in_every_arrangement(fp64, offload, checkpoints):
    wide, narrow = trained(fp64), trained(fp64, optimizer_bits=8)
    same = trained(fp64, optimizer_bits=8, offload=offload, checkpoints=checkpoints)
    for trial, mine, theirs, exact in zip(TRIALS, same, narrow, wide, strict=True):
        assert_near(mine, theirs, trial, fp64, 1e-10)
        assert_near(mine, exact, trial, fp64, 0.05)
    assert any(
        not torch.equal(mine[0][name], exact[0][name])
        for mine, exact in zip(narrow[0], wide[0], strict=True)
        for name in mine[0]
    )


def test_with_eight_bits_too_every_trial_is_as_if_alone(fp64):
    for trial, mine in zip(TRIALS, trained(fp64, optimizer_bits=8, offload=True), strict=True):
        # A number in the middle of two codes may get the one or the other.
        assert_near(mine, alone(fp64, trial, optimizer_bits=8), trial, fp64, 1e-3)


def test_padding_stays_exactly_zero_with_eight_bits(fp64):
    pack, trial = new_pack(fp64, slots=1, optimizer_bits=8, offload=True), TRIALS[0]
    state = trial.adapter(fp64.layers)
    pack.put(0, SlotState(matrices=state), trial.settings)
    own = pack.stack.flatten({name: torch.ones_like(matrix) for name, matrix in state.items()}).bool()
    for step in range(5):
        train_pass(pack, {0: trial.batch(step)}, tokens=WHOLE)
        pack.update(0, 1e-2)
    assert pack.stack.master[0, own].all() and not pack.stack.master[0, ~own].any()


class HalfPair:
    """Two trials in fp16, the first of which overflows at its second update."""

    def __init__(self, model, **options):
        self.pack, self.trials = new_pack(model, slots=2, **options), (TRIALS[0], replace(TRIALS[2], seed=9))
        for slot, trial in enumerate(self.trials):
            state = SlotState(matrices=trial.adapter(model.layers, torch.float32))
            self.pack.put(slot, state, trial.settings)

    def train(self, *, overflows):
        """Loss, norm and loss scale of each slot's updates, and its matrices at the end."""
        made = [[], []]
        for step in range(5):
            train_pass(self.pack, {s: t.batch(step) for s, t in enumerate(self.trials)}, tokens=WHOLE)
            for slot in range(2):
                if overflows and (slot, step) == (0, 1):
                    self.pack.gradients.flat[0, 3] = torch.inf
                    self.check_overflow()
                    continue
                scale = self.pack.optimizer(slot).loss_scale
                loss, norm = self.pack.update(slot, 1e-3).tolist()
                made[slot].append((loss / scale, norm, scale))
        return made, self.pack.stack.master.clone()

    def check_overflow(self):
        """The step is left out, nothing but the loss scale changes."""
        optimizer = self.pack.optimizer(0)
        before, scale = self.pack.stack.master[0].clone(), optimizer.loss_scale
        kept = {name: value.clone() for name, value in optimizer.moments().items()}
        assert float(kept["step"]) == 1
        assert self.pack.update(0, 1e-3)[1].isinf()
        assert torch.equal(self.pack.stack.master[0], before) and optimizer.loss_scale == scale / 2
        assert all(torch.equal(value, kept[name]) for name, value in optimizer.moments().items())


@pytest.mark.parametrize("bits", [32, 8])
@pytest.mark.parametrize(("offload", "checkpoints"), [(False, False), *SAVING])
def test_fp16_with_its_skipped_steps_trains_in_every_arrangement(fp16, bits, offload, checkpoints):
    wanted, _ = HalfPair(fp16).train(overflows=True)
    options = {"optimizer_bits": bits, "offload": offload}
    with checkpointing(fp16, checkpoints):
        made, after = HalfPair(fp16, **options).train(overflows=True)
        calm, undisturbed = HalfPair(fp16, **options).train(overflows=False)
    for mine, theirs in zip(made, wanted, strict=True):
        assert [scale for *_, scale in mine] == [scale for *_, scale in theirs]
        for got, expected in zip(mine, theirs, strict=True):
            assert got[:2] == pytest.approx(expected[:2], rel=0.05)
    assert made[1] == calm[1] and torch.equal(after[1], undisturbed[1])
    assert made[0][1:] != calm[0][2:] and not torch.equal(after[0], undisturbed[0])


def test_checkpointing_is_switched_on_and_off_between_passes(fp64):
    trial, ran, modes = TRIALS[0], [], [module.training for module in fp64.model.modules()]
    pack = new_pack(fp64, slots=1)
    pack.put(0, SlotState(matrices=trial.adapter(fp64.layers)), trial.settings)
    hook = fp64.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: ran.append(1))
    counts, gradients = [], []
    for enabled in (False, True, False, True):
        with checkpointing(fp64, enabled):
            ran.clear()
            pack.forget_batch(0)
            train_pass(pack, {0: trial.batch(0)}, tokens=WHOLE)
            counts.append(len(ran))
            gradients.append(pack.gradients.flat.clone())
    hook.remove()
    assert counts == [1, 2, 1, 2]  # a checkpointed pass runs again in its backward
    for gradient in gradients[1:]:
        assert (gradient - gradients[0]).norm() <= 1e-12 * gradients[0].norm()
    assert [module.training for module in fp64.model.modules()] == modes
