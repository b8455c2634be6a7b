import re
from itertools import pairwise

import pytest
import torch

from loratory.objectives.events import Start
from loratory.objectives.packing.compatibility import PackingProbe
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.pack import Pack
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.slots import Slots
from loratory.objectives.qlora.trial.arrivals import new_trial
from loratory.objectives.qlora.trial.phases import Waiting
from loratory.objectives.qlora.trial.trial import Selection
from loratory.objectives.stopping import NeverStop
from loratory.spaces.metric_names import Direction

WHOLE = 10**6


class Bench:
    """A base with packs on it, and trials for them."""

    def __init__(self, model_spec, train, make_trial):
        self.train, self._make_trial = train, make_trial
        reference = resolve_base(model_spec)
        self.architecture = read_architecture(
            reference, allow_unquantized_experts=model_spec.allow_unquantized_experts
        )
        self.base = load_base(model_spec, reference)
        alone = PackingProbe(self.base.model, self.base.device)
        self.model = PackedModel(
            self.base.model,
            self.architecture.linear_layers,
            device=self.base.device,
            compute_dtype=self.base.compute_dtype,
            frozen_weight=self.base.format.frozen_weight,
        )
        if alone.why_not(self.model) is not None:
            self.model.keep_rows_apart()

    def slots(self, count=1, tokens=WHOLE):
        stack = AdapterStack(
            self.model.layers,
            slots=count,
            rank=8,
            device=self.model.device,
            compute_dtype=self.model.compute_dtype,
        )
        pack = Pack(self.model, stack, PassRunner(self.model.device, graphs=False), dropout=True)
        return Slots(pack, self.train, tokens_per_pass=tokens)

    def run(self, number=0, *, evaluations=1, **training):
        """A trial that is not measured before it is trained out."""
        return new_trial(
            Start(trial=self._make_trial(number, **training)),
            architecture=self.architecture,
            selection=Selection(metric="loss", direction=Direction.MINIMIZE, rule=NeverStop()),
            train_examples=len(self.train),
            evaluations=evaluations,
        )

    def points(self, *, tokens=WHOLE, updates=None, **training):
        """The curve of a trial that is alone."""
        slots, run = self.slots(tokens=tokens), self.run(**training)
        slots.place(run)
        train_out(slots, updates=updates)
        return run.points


def train_out(slots, *, updates=None):
    """Train until nothing is ready, or a trial made so many updates; what was first wrong with each."""
    wrong = {}
    while slots.ready and not any(run.progress.optimizer_steps == updates for run in slots.training):
        for run, error in slots.advance():
            if error is not None and run.spec.number not in wrong:
                wrong[run.spec.number] = str(error)
                run.close()
    slots.collect_results()
    return wrong


def losses(points):
    return [point.loss for point in points]


@pytest.fixture(scope="module")
def make_bench(make_study, make_trial, data):
    def make(**model):
        study = make_study(model=model)
        return Bench(
            study.model,
            data.train,
            lambda number, *, seed=7, **training: make_trial(study, number, seed=seed, **training),
        )

    return make


@pytest.fixture(scope="module")
def bench(make_bench):
    return make_bench()


@pytest.mark.parametrize("tokens", [1, 60, 300])
def test_curve_does_not_depend_on_the_cut_into_passes(bench, tokens):
    whole, cut = bench.points(), bench.points(tokens=tokens)
    assert [point.optimizer_step for point in cut] == [1, 2, 3, 4, 5, 6]
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-4)
    assert cut[0].loss == pytest.approx(whole[0].loss, rel=1e-6)
    assert [p.grad_norm for p in cut] == pytest.approx([p.grad_norm for p in whole], rel=1e-3)


def test_points_tell_steps_rates_and_tokens(bench):
    points, run = bench.points(warmup=0.0), bench.run(warmup=0.0)
    assert [point.learning_rate for point in points] == [run.plan.learning_rate(step) for step in range(6)]
    sizes = [sum(len(bench.train[i]) for i in run.plan.batch(step)) for step in range(6)]
    assert [point.tokens_seen for point in points] == [sum(sizes[: step + 1]) for step in range(6)]


def test_norm_is_reported_unclipped(bench):
    free, held = (bench.points(updates=1, dropout=0.0, max_grad_norm=limit) for limit in (None, 1e-3))
    assert free[0].grad_norm == held[0].grad_norm > 0.1


def test_gradient_checkpointing_changes_no_curve(bench, make_bench):
    saving = make_bench(gradient_checkpointing=True)
    recomputed = []
    saving.base.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: recomputed.append(1))
    points = saving.points()
    assert len(recomputed) == 2 * 6  # every pass runs again in its backward
    assert losses(points) == pytest.approx(losses(bench.points()), rel=1e-5)


def test_dropout_is_the_trials_own(bench):
    none, some, seed = (
        losses(bench.points(warmup=0.0, **changes))
        for changes in ({"dropout": 0.0}, {"dropout": 0.5}, {"seed": 8})
    )
    assert none[0] == some[0]  # B is zero before the first update, and dropout then without effect
    assert none[1] != some[1] and none[0] != seed[0]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("qwen2", {}),
        ("mistral", {"sliding_window": 8}),
        ("granite", {"logits_scaling": 2.0}),
        ("gemma2", {"head_dim": 16}),  # its rows stand apart
        ("mixtral", {"num_local_experts": 4}),
    ],
)
def test_other_architectures_train(base_folder, make_bench, kind, changes):
    allowed = {"allow_unquantized_experts": True} if kind == "mixtral" else {}
    made = losses(make_bench(base=str(base_folder(kind, **changes)), **allowed).points(dropout=0.0))
    assert made[-1] < made[0]


def test_bf16_trains_with_adapters_in_fp32(make_bench):
    brief = make_bench(compute_dtype="bf16")
    slots, run = brief.slots(), brief.run()
    slots.place(run)
    assert train_out(slots) == {}
    assert losses(run.points)[-1] < losses(run.points)[0]
    stack = slots.pack.stack
    assert (stack.master.dtype, stack.compute.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(stack.compute, stack.master.bfloat16())
    assert brief.base.model.model.norm.weight.dtype is torch.bfloat16


@pytest.fixture(scope="module")
def half(make_bench):
    return make_bench(compute_dtype="fp16")


def overflowing(monkeypatch, when):
    """Let gradients overflow in the passes of which `when`, called with their number, says so."""

    class Overflow(torch.autograd.Function):
        @staticmethod
        def forward(context, value):
            return value.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * float("inf")

    real, passes = PackedModel._hidden, iter(range(10**6))

    def hidden(self, inputs):
        made = real(self, inputs)
        return Overflow.apply(made) if when(next(passes)) else made

    monkeypatch.setattr(PackedModel, "_hidden", hidden)


def test_fp16_leaves_out_overflowing_updates(half, monkeypatch):
    slots, run = half.slots(), half.run(dropout=0.0)
    slots.place(run)
    overflowing(monkeypatch, lambda number: number in (1, 2))
    masters, scales = [], []
    while slots.ready:
        slots.advance()
        masters.append(slots.pack.stack.master.clone())
        scales.append(slots.pack.optimizer(0).loss_scale)
    assert slots.collect_results()[0][1] is None
    same = [torch.equal(before, after) for before, after in pairwise(masters)]
    assert same == [True, True, False, False, False]
    assert [scale / 2**16 for scale in scales] == [1.0, 0.5, 0.25, 0.25, 0.25, 0.25]
    assert [point.optimizer_step for point in run.points] == [1, 4, 5, 6]
    assert all(0 < point.loss < 20 and 0 < point.grad_norm < 20 for point in run.points)
    assert losses(run.points)[-1] < losses(run.points)[0]


def test_fp16_gives_up_in_the_end(half, monkeypatch):
    slots, run = half.slots(), half.run(epochs=20.0)
    slots.place(run)
    overflowing(monkeypatch, lambda number: True)
    assert re.fullmatch(r"the norm of the gradient is (inf|nan) at optimiser step 13", train_out(slots)[0])


def test_fp16_goes_on_with_its_loss_scale_where_it_was_suspended(half, monkeypatch):
    slots, run = half.slots(), half.run(epochs=4.0)
    slots.place(run)
    overflowing(monkeypatch, lambda number: number == 1)
    for _ in range(3):
        slots.advance()
    slots.collect_results()
    expected_slots, undisturbed = half.slots(), half.run(epochs=4.0)
    slots.suspend(run)
    slots.place(run)
    assert slots.pack.optimizer(0).loss_scale == 2.0**15
    train_out(slots)
    overflowing(monkeypatch, lambda number: number == 1)
    expected_slots.place(undisturbed)
    train_out(expected_slots)
    assert run.points == undisturbed.points


TRIALS = (
    {"batch_size": 8, "dropout": 0.3},
    {"batch_size": 3, "rank": 8, "seed": 5, "epochs": 1.0},
    {"batch_size": 24, "target_modules": ("q_proj", "up_proj"), "weight_decay": 0.1, "epochs": 3.0},
    {"batch_size": 1, "learning_rate": 1e-3, "max_grad_norm": None, "epochs": 0.5},
)


def test_trials_of_a_pack_are_as_if_alone_wherever_they_begin(bench):
    slots = bench.slots(3, tokens=150)
    coming = [bench.run(number, **training) for number, training in enumerate(TRIALS)]
    runs = list(coming)
    while coming or slots.ready:
        if coming and slots.free:
            slots.place(coming.pop(0))
        for _ in range(2):
            slots.advance()
        for run in slots.training:
            if run.trained_out:
                run.close()
    slots.collect_results()
    for run, training in zip(runs, TRIALS, strict=True):
        alone = bench.points(**training)
        assert losses(run.points) == pytest.approx(losses(alone), rel=1e-4)
        assert [p.learning_rate for p in run.points] == [p.learning_rate for p in alone]


def test_divergence_of_one_trial_is_its_own(bench):
    def train(poison):
        slots = bench.slots(2)
        runs = [bench.run(number, **TRIALS[number]) for number in (0, 1)]
        for run in runs:
            slots.place(run)
        for _ in range(2):
            slots.advance()
        if poison:
            slots.pack.stack.master[0, 0] = torch.nan
        return train_out(slots), runs

    healthy, expected = train(poison=False)
    wrong, runs = train(poison=True)
    assert healthy == {} and wrong == {0: "the training loss is nan at optimiser step 3"}
    assert len(runs[0].points) == 2 and runs[0].points == expected[0].points[:2]
    assert losses(runs[1].points) == pytest.approx(losses(expected[1].points), rel=1e-5)
    assert len(runs[1].points) == 8


def test_an_update_is_looked_at_after_the_next_pass_is_launched(bench):
    slots, run = bench.slots(), bench.run()
    slots.place(run)
    assert slots.advance() == [] and run.points == () and run.progress.optimizer_steps == 1
    assert slots.advance() == [(run, None)] and len(run.points) == 1
    assert slots.collect_results() == [(run, None)] and len(run.points) == 2
    assert slots.collect_results() == []


def test_a_batch_that_was_lost_is_made_again(bench):
    slots, run = bench.slots(tokens=60), bench.run()
    slots.place(run)
    for count in range(40):
        slots.advance()
        if count % 3 == 1:
            slots.rewind_batches()
            slots.tokens_per_pass = 150
    train_out(slots)
    assert losses(run.points) == pytest.approx(losses(bench.points()), rel=1e-4)


def test_a_suspended_trial_goes_on_in_another_slot(bench):
    slots, first, run = bench.slots(2, tokens=100), bench.run(0), bench.run(1, seed=9)
    slots.place(first)
    slots.place(run)
    for _ in range(5):
        slots.advance()
    assert run.phase.slot == 1 and run.batch is not None
    slots.suspend(run)
    assert isinstance(run.phase, Waiting) and run.batch is None and run not in slots.ready
    first.close()
    slots.place(run)
    assert run.phase.slot == 0
    train_out(slots)
    assert losses(run.points) == pytest.approx(losses(bench.points(seed=9)), rel=1e-4)


def test_time_is_shared_by_tokens(bench):
    slots = bench.slots(2)
    large, small = bench.run(0, batch_size=24), bench.run(1, batch_size=2)
    for run in (large, small):
        slots.place(run)
    slots.advance()
    assert large.progress.device_seconds > 4 * small.progress.device_seconds > 0
    assert large.progress.elapsed_seconds > large.progress.device_seconds
    assert large.progress.peak_memory_bytes > 0


def test_nothing_is_ready_before_its_measurement(bench):
    slots, run = bench.slots(), bench.run(evaluations=3)
    slots.place(run)
    train_out(slots)
    assert run.progress.optimizer_steps == 2 and run.evaluation_due and not slots.free


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: training on it is NOT tested")
def test_base_and_training_are_on_the_gpu(bench):
    made = losses(bench.points())
    assert bench.base.device.type == "cuda"
    assert made[-1] < made[0]
