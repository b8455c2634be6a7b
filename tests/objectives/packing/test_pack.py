import pytest
import torch

from loratory.objectives.packing.pack import Pack, Settings
from loratory.objectives.packing.passes import padding_pass
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import Piece
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import FILE_PREFIX, AdapterStack
from loratory.objectives.qlora.base.loading import checkpoint_activations

LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")


@pytest.fixture(scope="module")
def model(make_packed):
    return make_packed("llama")[0]


@pytest.fixture
def make_pack(model):
    def make(*, slots=3, dropout=True, of=model):
        stack = AdapterStack(of.layers, slots=slots, rank=8, device=of.device, compute_dtype=of.compute_dtype)
        return Pack(of, stack, PassRunner(of.device, graphs=False), dropout=dropout)

    return make


def state(model, seed=0, rank=4):
    generator = torch.Generator().manual_seed(seed)
    matrices = {}
    for layer in LAYERS:
        inputs, outputs = model.layers[layer]
        for matrix, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
            matrices[f"{FILE_PREFIX}{layer}.lora_{matrix}.weight"] = torch.randn(shape, generator=generator)
    return SlotState(matrices=matrices)


def piece(slot, seed=0, weight=0.1):
    ids = torch.randint(160, (13,), generator=torch.Generator().manual_seed(seed)).tolist()
    return Piece(slot=slot, input_ids=ids[:-1], first=2, targets=ids[3:], weight=weight)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def step(pack, slot, seed=0):
    pack.train([piece(slot, seed)])
    return pack.update(slot, 1e-2)


def test_a_trial_goes_on_in_any_slot_of_any_pack_where_it_was_taken_out(model, make_pack):
    pack, other = make_pack(), make_pack(slots=2)
    first, settings = state(model), Settings(scaling=2.0, weight_decay=0.1, max_grad_norm=1.0)
    pack.put(1, first, settings)
    for seed in range(2):
        step(pack, 1, seed)
    taken = pack.take(1, first.matrices, moments=True)
    assert set(taken.moments) == {"exp_avg", "exp_avg_sq", "step"} and float(taken.moments["step"]) == 2
    assert taken.moments["exp_avg"].keys() == first.matrices.keys()
    kept = {name: tensor.clone() for name, tensor in taken.matrices.items()}
    expected = [step(pack, 1, seed) for seed in (5, 6)], pack.take(1, first.matrices, moments=True)
    for again in (pack, other):
        again.clear(1)
        again.put(0, taken, settings)
        got = [step(again, 0, seed) for seed in (5, 6)], again.take(0, first.matrices, moments=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(got[0], expected[0], strict=True))
        assert equal(got[1].matrices, expected[1].matrices)
        assert equal(got[1].moments["exp_avg_sq"], expected[1].moments["exp_avg_sq"])
    assert equal(taken.matrices, kept) and float(taken.moments["step"]) == 2


def test_what_is_taken_out_is_a_copy_with_moments_where_they_are_wanted(model, make_pack):
    pack, first = make_pack(), state(model)
    pack.put(0, first, Settings(scaling=1.0))
    assert pack.take(0, first.matrices, moments=True).moments == {}
    step(pack, 0)
    taken = pack.take(0, first.matrices, moments=False)
    assert taken.moments == {} and taken.scaler == {}
    before = {name: tensor.clone() for name, tensor in taken.matrices.items()}
    step(pack, 0)
    assert equal(taken.matrices, before)


@pytest.mark.parametrize("on_cpu", [False, True])
def test_a_copy_to_be_fetched_later_is_of_the_moment(model, make_pack, on_cpu):
    pack, first = make_pack(), state(model)
    pack.put(2, first, Settings(scaling=1.0))
    step(pack, 2)
    taken = pack.take(2, first.matrices, moments=True)
    copied = pack.copy(2, first.matrices, moments=True, on_cpu=on_cpu)
    bare = pack.copy(2, first.matrices, moments=False, on_cpu=on_cpu)
    assert copied.nbytes == 3 * bare.nbytes + 4
    step(pack, 2, seed=1)
    fetched = copied.fetch()
    assert equal(fetched.matrices, taken.matrices) and equal(bare.fetch().matrices, taken.matrices)
    assert fetched.moments.keys() == taken.moments.keys() and bare.fetch().moments == {}
    for name in ("exp_avg", "exp_avg_sq"):
        assert equal(fetched.moments[name], taken.moments[name])
    assert float(fetched.moments["step"]) == 1 and fetched.scaler == taken.scaler


def test_losses_and_gradients_add_up_until_the_update(model, make_pack):
    pack = make_pack()
    for slot in (0, 2):
        pack.put(slot, state(model, slot), Settings(scaling=1.0))
    pack.train([piece(0), piece(2, 1)])
    once = pack.gradients.flat.clone()
    pack.train([piece(2, 1)])
    torch.testing.assert_close(pack.gradients.flat, once * torch.tensor([[1.0], [1.0], [2.0]]))
    loss, norm = pack.update(2, 1e-2).tolist()
    single = make_pack()
    single.put(2, state(model, 2), Settings(scaling=1.0))
    assert [loss / 2, norm / 2] == pytest.approx(step(single, 2, 1).tolist(), rel=1e-5)
    assert not pack.gradients.flat[2].any() and torch.equal(pack.gradients.flat[0], once[0])
    pack.forget_batch(0)
    assert not pack.gradients.flat.any()


def test_an_empty_slot_is_empty(model, make_pack):
    pack = make_pack()
    pack.put(1, state(model), Settings(scaling=1.0, dropout=0.5))
    pack.train([piece(1)])
    pack.clear(1)
    assert not pack.stack.master.any() and not pack.gradients.flat.any()
    with pytest.raises(KeyError):
        pack.optimizer(1)


def test_dropout_in_a_pack_made_without_it_is_refused(model, make_pack):
    with pytest.raises(ValueError, match="dropout must be 0"):
        make_pack(dropout=False).put(0, state(model), Settings(scaling=1.0, dropout=0.1))


def test_pieces_need_no_slot_of_the_pack_where_another_stack_is_read(model, make_pack):
    host = make_pack(slots=1).lay_out([piece(-1), piece(2)], slots=3)
    assert host.shape.slots == 3 and [span.slot for span in host.spans] == [2]


def gradients_and_saved(model):
    """Gradients of a pass of two random adapters, and how many numbers it kept for the way back."""
    stack = AdapterStack(
        model.layers, slots=2, rank=8, device=model.device, compute_dtype=model.compute_dtype
    )
    pack, sizes = Pack(model, stack, PassRunner(model.device, graphs=False), dropout=True), []
    stack.master.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        pack.train([piece(0), piece(1, seed=1)])
    return pack.gradients.flat, sum(sizes)


def test_checkpointed_activations_give_the_same_gradients(model, make_packed):
    checkpointed, _ = make_packed("llama")
    checkpoint_activations(checkpointed.model)
    (wanted, all_saved), (got, some_saved) = map(gradients_and_saved, (model, checkpointed))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
    assert wanted.ne(0).float().mean() > 0.9 and some_saved < all_saved / 3


def test_the_largest_pass_is_reserved_as_it_is_laid_out(make_packed, make_pack, monkeypatch):
    own_model = make_packed("llama")[0]
    pack, reserved = make_pack(of=own_model), []
    monkeypatch.setattr(pack.runner, "reserve", lambda name, shape, work: reserved.append((shape, work)))
    pack.reserve(100, longest=21)
    assert (reserved[-1][0].tokens, reserved[-1][0].sequences, reserved[-1][0].row) == (88, 5, 0)
    own_model.keep_rows_apart()
    pack.reserve(100, longest=21)
    rows, work = reserved[-1]
    assert work(padding_pass(rows, own_model.device)).isfinite().all() and not pack.gradients.flat.any()
    own_model.keep_rows_apart(alone=True)
    pack.reserve(100, longest=21)
    alone, _ = reserved[-1]
    assert (rows.tokens, rows.row) == (96, 24) and (alone.tokens, alone.row) == (24, 24)
