import math
import types

import pytest
import torch

from loratory.objectives.qlora.adapter import activate, new_adapter, remove_adapter
from loratory.objectives.qlora.base import load_base
from loratory.objectives.qlora.batches import collate
from loratory.objectives.qlora.evaluation import decode, evaluate
from loratory.objectives.qlora.forward import answer_losses
from loratory.objectives.qlora.plan import Plan
from loratory.objectives.qlora.reference import resolve_base
from loratory.objectives.qlora.slot import open_slot
from loratory.objectives.qlora.training import DivergedError, train_step

TARGETS = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")


@pytest.fixture(scope="module")
def base(make_study):
    model = make_study().model
    return load_base(model, resolve_base(model))


@pytest.fixture
def slot(base, make_study, make_trial, data):
    """A function: changed hyperparameters to a fresh slot on the base."""

    def make(*, micro_batch_size=4, on=base, **training):
        study = make_study()
        trial = make_trial(study, **training)
        adapter = new_adapter(on, name="slot_0", training=trial.training, targets=TARGETS, seed=trial.seed)
        plan = Plan(training=trial.training, seed=trial.seed, train_examples=len(data.train), evaluations=3)
        return open_slot(on, trial, plan=plan, adapter=adapter, micro_batch_size=micro_batch_size)

    yield make
    remove_adapter(base, "slot_0")


def gradients_of_first_step(base, slot, train):
    """Gradients before clipping, by name, with nothing updated."""
    caught = {}

    def catch(self):
        caught.update({n: p.grad.clone() for n, p in slot.adapter.parameters.items()})

    slot.optimizer.step = types.MethodType(catch, slot.optimizer)
    point = train_step(base, slot, train)
    return point.loss, caught


def test_answer_losses_are_those_of_the_whole_logits(base, data):
    examples = data.train[:5]
    batch = collate(examples, padding_id=base.padding_id, device=base.device)
    mine = answer_losses(base, batch)
    theirs = []
    for example in examples:
        ids = torch.tensor([[*example.prompt_ids, *example.answer_ids]], device=base.device)
        logits = base.model(input_ids=ids).logits[0, :-1].float()
        every = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        theirs.append(every[len(example.prompt_ids) - 1 :])
    torch.testing.assert_close(mine, torch.cat(theirs), rtol=1e-4, atol=1e-5)


def test_loss_and_gradients_do_not_depend_on_the_micro_batch_size(base, slot, data):
    results = {}
    for size in (1, 2, 8):
        made = slot(micro_batch_size=size, dropout=0.0, max_grad_norm=None)
        results[size] = gradients_of_first_step(base, made, data.train)
        remove_adapter(base, "slot_0")
    for size in (1, 2):
        assert results[size][0] == pytest.approx(results[8][0], rel=1e-5)
        for name, gradient in results[8][1].items():
            torch.testing.assert_close(results[size][1][name], gradient, rtol=1e-4, atol=1e-7)


def test_clipping_holds_the_norm_and_reports_it_unclipped(base, slot, data):
    free = slot(dropout=0.0, max_grad_norm=None)
    _, unclipped = gradients_of_first_step(base, free, data.train)
    norm = math.sqrt(sum(float(g.square().sum()) for g in unclipped.values()))
    remove_adapter(base, "slot_0")
    _, clipped = gradients_of_first_step(base, slot(dropout=0.0, max_grad_norm=norm / 4), data.train)
    assert math.sqrt(sum(float(g.square().sum()) for g in clipped.values())) == pytest.approx(
        norm / 4, rel=1e-4
    )


def test_gradients_after_decoding_are_those_of_training_alone(base, slot, data, make_study):
    expected = gradients_of_first_step(base, slot(), data.train)
    remove_adapter(base, "slot_0")
    made = slot()
    base.model.eval()
    decode(base, data.dev, max_new_tokens=5, batch_size=4)
    evaluate(base, make_study(), data.dev)
    loss, gradients = gradients_of_first_step(base, made, data.train)
    assert loss == expected[0]
    assert all(torch.equal(gradients[name], expected[1][name]) for name in gradients)


def test_gradient_checkpointing_changes_no_gradient(base, slot, data, make_study):
    model = make_study(model={"gradient_checkpointing": True}).model
    saving = load_base(model, resolve_base(model))
    recomputed = []
    saving.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: recomputed.append(1))
    loss, gradients = gradients_of_first_step(saving, slot(on=saving), data.train)
    assert len(recomputed) == 2 * 2  # two passes, each run again in its backward
    expected = gradients_of_first_step(base, slot(), data.train)
    assert loss == pytest.approx(expected[0], rel=1e-6)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-5, atol=1e-7)


def test_dropout_acts_in_training_and_not_in_evaluation(base, slot, data, make_study):
    made = slot(dropout=0.9)
    for _ in range(2):  # B is zero before the first update, and dropout then without effect
        train_step(base, made, data.train)
    batch = collate(data.dev, padding_id=base.padding_id, device=base.device)
    base.model.train()
    assert not torch.equal(answer_losses(base, batch), answer_losses(base, batch))
    scores = [evaluate(base, make_study(), data.dev).scores.aggregate["loss"] for _ in range(2)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("kind", ["qwen2", "mistral", "gemma2"])
def test_other_architectures_train(base_folder, make_study, make_trial, data, kind):
    study = make_study(
        model={"base": str(base_folder(kind, head_dim=16) if kind == "gemma2" else base_folder(kind))}
    )
    other = load_base(study.model, resolve_base(study.model))
    trial = make_trial(study, dropout=0.0)
    adapter = new_adapter(other, name="slot_0", training=trial.training, targets=TARGETS, seed=1)
    plan = Plan(training=trial.training, seed=1, train_examples=len(data.train), evaluations=1)
    made = open_slot(other, trial, plan=plan, adapter=adapter, micro_batch_size=8)
    points = [train_step(other, made, data.train) for _ in range(6)]
    assert points[-1].loss < points[0].loss
    assert decode(other, data.dev, max_new_tokens=3, batch_size=3)


def test_fp16_leaves_out_overflowing_steps_and_gives_up_in_the_end(make_study, make_trial, data, monkeypatch):
    from loratory.objectives.qlora import training as module

    study = make_study(model={"compute_dtype": "fp16"})
    half = load_base(study.model, resolve_base(study.model))
    trial = make_trial(study, epochs=20.0)
    adapter = new_adapter(half, name="slot_0", training=trial.training, targets=("q_proj",), seed=1)
    plan = Plan(training=trial.training, seed=1, train_examples=len(data.train), evaluations=1)
    made = open_slot(half, trial, plan=plan, adapter=adapter, micro_batch_size=8)
    assert train_step(half, made, data.train) is not None
    before = adapter.state()

    class Overflow(torch.autograd.Function):
        @staticmethod
        def forward(context, value):
            return value.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * float("inf")

    real = module.answer_losses
    monkeypatch.setattr(module, "answer_losses", lambda *given: Overflow.apply(real(*given)))
    assert train_step(half, made, data.train) is None
    assert all(torch.equal(before[name], matrix) for name, matrix in adapter.state().items())
    with pytest.raises(DivergedError, match="norm of the gradient"):
        for _ in range(20):
            train_step(half, made, data.train)


def test_bf16_trains_with_adapters_in_fp32(make_study, make_trial, data):
    study = make_study(model={"compute_dtype": "bf16"})
    brief = load_base(study.model, resolve_base(study.model))
    trial = make_trial(study)
    adapter = new_adapter(brief, name="slot_0", training=trial.training, targets=TARGETS, seed=1)
    plan = Plan(training=trial.training, seed=1, train_examples=len(data.train), evaluations=1)
    made = open_slot(brief, trial, plan=plan, adapter=adapter, micro_batch_size=8)
    points = [train_step(brief, made, data.train) for _ in range(6)]
    assert points[-1].loss < points[0].loss
    assert {matrix.dtype for matrix in adapter.parameters.values()} == {torch.float32}
    activate(brief, None)
    assert brief.model.model.norm.weight.dtype == torch.bfloat16


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device: bf16 training on it is NOT tested"
)
def test_base_and_training_are_on_the_gpu(base, slot, data):
    made = slot()
    points = [train_step(base, made, data.train) for _ in range(6)]
    assert base.device.type == "cuda"
    assert points[-1].loss < points[0].loss
