import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from torch import nn

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.attention import PaddedLayout
from loratory.objectives.packing.batch import OptimizerBatch
from loratory.objectives.packing.gradients import GradientSink
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.passes import lay_out
from loratory.objectives.packing.shapes import Piece, exact_shape
from loratory.objectives.packing.stack import AdapterStack

KINDS = ("llama", "tied", "mistral", "qwen2", "qwen3")
HEADS = pytest.mark.parametrize("plain_head", [True, False])
"""Head and loss in one, or the head as the model has it."""
LENGTHS = ((-1, 9), (0, 20), (0, 3), (2, 14))


def make_pieces(seed=0):
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for slot, tokens in LENGTHS:
        ids = torch.randint(160, (tokens + 1,), generator=generator).tolist()
        first = tokens // 3
        pieces.append(
            Piece(
                slot=slot, input_ids=ids[:-1], first=first, targets=ids[first + 1 :], weight=0.1 * (slot + 2)
            )
        )
    return pieces


def lay(pieces):
    return lay_out(pieces, exact_shape(pieces, slots=3, granule=8))


class Both:
    """A packed model with adapters in slots 0 and 2, and the same adapters in PEFT on another."""

    def __init__(self, packed, reference):
        torch.manual_seed(1)
        self.packed = packed
        self.stack = AdapterStack(
            packed.layers, slots=3, rank=8, device=packed.device, compute_dtype=packed.compute_dtype
        )
        self.sink = GradientSink(self.stack)
        self.gradients = self.sink.flat
        for slot, rank in ((0, 3), (2, 8)):
            options = {"target_modules": "all-linear", "init_lora_weights": False, "task_type": "CAUSAL_LM"}
            config = LoraConfig(r=rank, lora_alpha=6, **options)
            if slot:
                reference.add_adapter("slot2", config)
            else:
                reference = get_peft_model(reference, config, adapter_name="slot0")
            state = get_peft_model_state_dict(reference, adapter_name=f"slot{slot}")
            self.stack.put(slot, state, scaling=6 / rank)
        self.reference = reference.eval()

    def reading(self, inputs):
        return self.packed.enter_pass(inputs, self.stack, gradients=self.sink)

    def expected(self, piece):
        """Logits of the piece's targets."""
        ids = torch.tensor([piece.input_ids])
        if piece.slot < 0:
            with self.reference.disable_adapter():
                logits = self.reference(input_ids=ids).logits[0]
        else:
            self.reference.set_adapter(f"slot{piece.slot}")
            logits = self.reference(input_ids=ids).logits[0]
        return logits[piece.first :]


@pytest.fixture(scope="module")
def make_both(make_packed):
    made = {}

    def make(kind, *, plain_head=True, quantization="nf4"):
        key = (kind, quantization)
        if key not in made:
            made[key] = Both(*make_packed(kind, quantization=quantization))
        made[key].packed._plain_head = plain_head
        return made[key]

    return make


@HEADS
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_each_sequence_alone_with_its_adapter(make_both, kind, plain_head):
    both, pieces = make_both(kind, plain_head=plain_head), make_pieces()
    host = lay(pieces)
    with torch.no_grad(), both.reading(host.inputs):
        logits = both.packed.logits(host.inputs)
    for piece, start in zip(pieces, host.target_starts, strict=True):
        expected = both.expected(piece).detach()
        torch.testing.assert_close(logits[start : start + len(expected)], expected, rtol=1e-4, atol=1e-4)


@HEADS
@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_losses_and_gradients_are_those_of_the_logits(make_both, plain_head, quantization):
    both, pieces = make_both("llama", plain_head=plain_head, quantization=quantization), make_pieces()
    inputs = lay(pieces).inputs
    both.gradients.zero_()
    with both.reading(inputs):
        loss, losses = both.packed.losses(inputs)
        loss.backward()
    both.reference.zero_grad()
    for piece, start in zip(pieces, lay(pieces).target_starts, strict=True):
        targets = torch.tensor(piece.targets)
        expected = nn.functional.cross_entropy(both.expected(piece), targets, reduction="none")
        torch.testing.assert_close(losses[start : start + len(expected)], expected, rtol=1e-4, atol=1e-4)
        if piece.slot == 2:
            (piece.weight * expected).sum().backward()
    named = [(name, p.grad) for name, p in both.reference.named_parameters() if p.grad is not None]
    state = {name.replace(".slot2", ""): gradient for name, gradient in named}
    assert len(state) == 2 * len(both.packed.layers)
    torch.testing.assert_close(both.gradients[2], both.stack.flatten(state), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_learned_turns_have_the_loss_of_labels_elsewhere_masked(make_both, quantization):
    both = make_both("llama", quantization=quantization)
    generator = torch.Generator().manual_seed(3)
    examples = []
    for tokens in (14, 21, 6):
        ids = torch.randint(160, (tokens,), generator=generator).tolist()
        answer = tokens // 4
        prompt = torch.rand(tokens - answer, generator=generator) < 0.4
        mask = (False, *prompt[1:].tolist(), *[True] * answer)
        examples.append(
            Example(
                example_id="",
                group="",
                prompt="",
                reference="",
                prompt_ids=tuple(ids[: tokens - answer]),
                answer_ids=tuple(ids[tokens - answer :]),
                learned=mask,
            )
        )
    batch = OptimizerBatch(examples, seed=0, step=0, dropout=False)
    pieces = batch.take(range(3), slot=2, loss_scale=1.0)
    host = lay(pieces)
    both.gradients.zero_()
    with both.reading(host.inputs):
        loss, losses = both.packed.losses(host.inputs)
        loss.backward()
    both.reference.zero_grad()
    both.reference.set_adapter("slot2")
    total = sum(sum(e.learned) for e in examples)
    assert batch.target_tokens == total
    for example, piece, start in zip(examples, pieces, host.target_starts, strict=True):
        ids = torch.tensor([[*example.prompt_ids, *example.answer_ids]])
        labels = torch.where(torch.tensor([example.learned]), ids, -100)
        expected = both.reference(input_ids=ids, labels=labels).loss
        count = sum(example.learned)
        assert len(piece.targets) == count
        assert losses[start : start + count].mean().item() == pytest.approx(expected.item(), rel=1e-5)
        (expected * count / total).backward()
    named = [(name, p.grad) for name, p in both.reference.named_parameters() if p.grad is not None]
    state = {name.replace(".slot2", ""): gradient for name, gradient in named}
    torch.testing.assert_close(both.gradients[2], both.stack.flatten(state), rtol=1e-3, atol=1e-5)


@HEADS
def test_nan_of_one_adapter_stays_in_its_own_sequences(make_packed, plain_head):
    both = Both(*make_packed("llama"))
    both.packed._plain_head = plain_head
    inputs = lay(make_pieces()).inputs

    def run():
        both.gradients.zero_()
        with both.reading(inputs):
            loss, losses = both.packed.losses(inputs)
            loss.backward()
        return losses, both.gradients.clone()

    losses, gradients = run()
    both.stack.master[0].fill_(torch.nan)
    poisoned, spoiled = run()
    healthy = inputs.target_slots != 0
    assert torch.equal(poisoned[healthy], losses[healthy]) and poisoned[~healthy].isnan().all()
    assert torch.equal(spoiled[2], gradients[2]) and not spoiled[1].any() and spoiled[0].isnan().any()


def test_a_held_base_is_the_same_base(make_packed):
    both, inputs = Both(*make_packed("qwen2")), lay(make_pieces()).inputs

    def logits():
        with torch.no_grad(), both.reading(inputs):
            return both.packed.logits(inputs)

    expected = logits()
    both.packed.hold_base()
    assert both.packed.holds_base and torch.equal(logits(), expected)
    held = [m.frozen.held for m in both.packed.model.modules() if hasattr(m, "frozen")]
    assert sum(tensor.nbytes for tensor in held) == both.packed.held_bytes
    both.packed.release_base()
    assert not both.packed.holds_base and torch.equal(logits(), expected)
    assert all(m.frozen.held is None for m in both.packed.model.modules() if hasattr(m, "frozen"))


def test_nothing_of_a_pass_is_left_behind_even_where_it_fails(make_both):
    both, inputs = make_both("llama"), lay(make_pieces()).inputs
    limits = torch.zeros(3, dtype=torch.int32)
    with (
        pytest.raises(ZeroDivisionError),
        both.packed.enter_pass(inputs, both.stack, gradients=both.sink, thresholds=limits) as current,
    ):
        assert both.packed.context.current is current
        assert isinstance(current.attention, PaddedLayout)
        assert current.dropout is not None
        _ = 1 / 0
    assert set(vars(both.packed.context).values()) == {None}


def test_layers_have_their_sizes_and_the_head_is_not_among_them(make_packed):
    packed, reference = make_packed("llama")
    sizes = {
        name: (module.in_features, module.out_features)
        for name, module in reference.named_modules()
        if isinstance(module, nn.Linear) and name != "lm_head"
    }
    assert packed.layers == sizes
    assert isinstance(packed, PackedModel) and torch.equal(packed.head, reference.lm_head.weight)


@pytest.mark.parametrize(("capability", "fused"), [((7, 0), False), ((7, 5), False), ((8, 0), True)])
def test_gpus_before_ampere_have_no_fused_attention(make_packed, monkeypatch, capability, fused):
    packed, _ = make_packed("llama")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert not packed.fused_attention
    monkeypatch.setattr(packed, "device", torch.device("cuda"))
    for dtype, expected in ((torch.float16, fused), (torch.float32, False)):
        monkeypatch.setattr(packed, "compute_dtype", dtype)
        assert packed.fused_attention == expected
