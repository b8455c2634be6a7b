"""Moments in 8 bits, in host memory, or both: updates, checkpoints and skipped steps of one slot."""

import itertools

import pytest
import torch
from on_gpu import CUDA, DEVICE

from loratory.objectives.packing import moments as module
from loratory.objectives.packing.moments import MomentStorage
from loratory.objectives.packing.optimizer import SlotOptimizer
from loratory.objectives.packing.update_rules import ADAMW, LoraPlus, SlotRows, state_bytes_per_number

SIZE, PIECE = 3 * 512 + 100, 512
SETTINGS = {"weight_decay": 0.1, "max_grad_norm": 1.0}
STORAGES = list(itertools.product((32, 8), (False, True)))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(module, "PIECE_NUMBERS", PIECE)


def row(seed):
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(seed))


class Slot:
    """A slot of a stack of one, in some storage."""

    def __init__(self, bits, offload, *, rule=ADAMW, loss_scaling=False, master=None, device="cpu"):
        self.masters = (row(0) if master is None else master).clone().unsqueeze(0).to(device)
        rows = SlotRows(
            self.masters[0],
            torch.zeros(SIZE, device=device),
            # Multiples of 64, as in a stack: on a CPU AdamW rounds the last numbers of others differently.
            spans_a=[slice(0, 384), slice(704, 1280)],
            spans_b=[slice(384, 704), slice(1280, SIZE)],
        )
        storage = MomentStorage(self.masters, bits=bits, offload=offload)
        self.gradient = rows.gradient
        self.optimizer = SlotOptimizer(rows, rule, loss_scaling=loss_scaling, storage=storage, **SETTINGS)

    def train(self, *seeds):
        for seed in seeds:
            self.gradient += (row(seed) * self.optimizer.loss_scale).to(self.gradient.device)
            self.optimizer.step(1e-2)
        return self

    @property
    def master(self):
        return self.masters[0].cpu()

    def moments(self, **options):
        return {name: value.clone() for name, value in self.optimizer.moment_rows(**options)}

    def goes_on_as(self, bits, offload):
        """A slot of another storage that takes over."""
        other = Slot(bits, offload, master=self.master)
        other.optimizer.restore(self.moments(on_cpu=True), self.optimizer.scaler.state_dict())
        return other


def assert_same(got, wanted):
    assert torch.equal(got.master, wanted.master)
    for mine, theirs in zip(got.moments().items(), wanted.moments().items(), strict=True):
        assert mine[0] == theirs[0] and torch.equal(mine[1].cpu(), theirs[1].cpu())


@pytest.mark.parametrize("loss_scaling", [False, True])
@pytest.mark.parametrize("rule", [ADAMW, LoraPlus(4.0)], ids=["adamw", "lora_plus"])
@pytest.mark.parametrize("bits", [32, 8])
def test_offloaded_moments_make_the_same_numbers_to_the_bit(bits, rule, loss_scaling):
    slots = [Slot(bits, offload, rule=rule, loss_scaling=loss_scaling) for offload in (False, True)]
    for slot in slots:
        assert slot.optimizer.moments() == {}
        slot.train(1, 2)
        slot.gradient[5] = torch.inf if loss_scaling else 3.0
        slot.train(3, 4)
    assert_same(*slots)
    assert float(slots[0].moments()["step"]) == (3 if loss_scaling else 4)


@pytest.mark.parametrize("rule", [ADAMW, LoraPlus(4.0)], ids=["adamw", "lora_plus"])
def test_eight_bits_are_near_thirty_two(rule):
    wide, narrow = (Slot(bits, False, rule=rule).train(*range(1, 31)) for bits in (32, 8))
    moved = (wide.master - row(0)).norm()
    assert 0 < (narrow.master - wide.master).norm() < 0.03 * moved
    for name, moment in wide.moments().items():
        assert (narrow.moments()[name] - moment).norm() <= 0.03 * moment.norm()


@pytest.mark.parametrize("offload", [False, True])
def test_an_arrangement_may_change_between_runs(offload):
    first = Slot(32, not offload).train(1, 2, 3)
    second = first.goes_on_as(8, offload)
    assert second.moments()["step"] == 3
    for name in ("exp_avg", "exp_avg_sq"):
        wide, narrow = first.moments()[name], second.moments()[name]
        assert narrow.dtype is torch.float32 and 0 < (narrow - wide).norm() < 0.02 * wide.norm()
    second.train(4, 5)
    third = second.goes_on_as(32, offload)
    for name, moment in second.moments().items():
        assert torch.equal(third.moments()[name], moment)
    whole, third = Slot(32, False).train(*range(1, 8)), third.train(6, 7)
    assert float(third.moments()["step"]) == 7
    assert (third.master - whole.master).norm() < 0.02 * (whole.master - row(0)).norm()


@pytest.mark.parametrize(("bits", "offload"), STORAGES)
def test_a_run_that_goes_on_in_its_own_arrangement_goes_on_exactly(bits, offload):
    whole = Slot(bits, offload).train(1, 2, 3)
    again = whole.goes_on_as(bits, offload)
    assert_same(again.train(4, 5), whole.train(4, 5))


@pytest.mark.parametrize(("bits", "offload"), STORAGES)
def test_a_skipped_step_leaves_all_as_it_was(bits, offload):
    slot = Slot(bits, offload, loss_scaling=True).train(1)
    before, moments, scale = slot.master.clone(), slot.moments(), slot.optimizer.loss_scale
    slot.gradient[7] = torch.nan
    slot.train(2)
    assert torch.equal(slot.master, before) and not slot.gradient.any()
    assert all(torch.equal(value, moments[name]) for name, value in slot.moments().items())
    assert slot.optimizer.loss_scale == scale / 2
    slot.train(3)
    assert float(slot.moments()["step"]) == 2 and not torch.equal(slot.master, before)


@pytest.mark.parametrize("loss_scaling", [False, True])
@pytest.mark.parametrize(("bits", "offload"), [case for case in STORAGES if case != (32, False)])
def test_a_step_that_failed_is_made_again(monkeypatch, bits, offload, loss_scaling):
    expected, slot = (Slot(bits, offload, loss_scaling=loss_scaling).train(1) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(module.StoredMoments, "update", fail)
        with pytest.raises(torch.OutOfMemoryError):
            slot.train(2)
    slot.gradient.zero_()
    assert_same(slot.train(2), expected.train(2))


def fail(*_, **__):
    raise torch.OutOfMemoryError("too much")


@pytest.mark.parametrize(("bits", "bytes_per_number"), [(32, 8), (8, 2 + 8 / 256)])
def test_moments_take_the_bytes_that_are_told(bits, bytes_per_number):
    slot = Slot(bits, offload=True)
    pieces = slot.optimizer._moments._pieces
    assert [len(piece[0][0]) for piece in pieces] == [PIECE, PIECE, PIECE, 100]
    taken = sum(tensor.nbytes for piece in pieces[:-1] for moment in piece for tensor in moment)
    told = state_bytes_per_number(["adamw"], wide=4, bits=bits)
    assert taken / (3 * PIECE) == told == bytes_per_number
    assert state_bytes_per_number(["adamw"], wide=4, bits=bits, offload=True) == 0


def test_other_bits_are_refused():
    with pytest.raises(ValueError, match="must be 32 or 8, got 16"):
        MomentStorage(torch.zeros(1, SIZE), bits=16, offload=False)


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="needs a CUDA device")
@pytest.mark.parametrize("rule", [ADAMW, LoraPlus(4.0)], ids=["adamw", "lora_plus"])
@pytest.mark.parametrize("bits", [32, 8])
def test_on_a_gpu_offloaded_moments_are_in_host_memory_and_the_same_to_the_bit(bits, rule):
    slots = [Slot(bits, offload, rule=rule, device=DEVICE).train(1, 2, 3) for offload in (False, True)]
    assert_same(*slots)
    for piece in slots[1].optimizer._moments._pieces:
        assert all(tensor.is_pinned() for moment in piece for tensor in moment)
    for bit in (32, 8):
        again = [slot.goes_on_as(bit, offload=True) for slot in slots]
        assert_same(*again)
    exact = Slot(32, False, rule=rule).train(1, 2, 3)
    assert (slots[1].master - exact.master).norm() < 0.02 * (exact.master - row(0)).norm()
