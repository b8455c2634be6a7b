"""LoRA+ in a slot is what PEFT's own optimiser makes of the same adapter, beside a neighbour with AdamW."""

import random

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from peft.optimizers import create_loraplus_optimizer

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.batch import OptimizerBatch, train_pass
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.optimizer import SlotOptimizer
from loratory.objectives.packing.pack import Pack, Settings
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.packing.update_rules import (
    ADAMW,
    BETAS,
    EPSILON,
    LoraPlus,
    SlotRows,
    joined_spans,
    state_bytes_per_number,
    update_rule,
)
from loratory.objectives.qlora.base.formats.none import NONE
from loratory.spaces.training import OptimizerName, TrainingParameters

CPU, RATIO, RATE, DECAY, CLIP, STEPS = torch.device("cpu"), 8.0, 2e-3, 0.3, 0.05, 6


def exact_norm(self, hidden):
    # transformers' own rounds to fp32.
    return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


@pytest.fixture
def load_fp64(load_reference):
    def load():
        model = load_reference(quantization="none").double()
        for module in model.modules():
            if type(module).__name__ == "LlamaRMSNorm":
                module.forward = exact_norm.__get__(module)
        return model

    return load


def examples(step):
    draw = random.Random(step)

    def ids(count):
        return tuple(draw.choices(range(160), k=count))

    # 16 answer tokens in all: weights of losses are fp32, in which a sixteenth is exact.
    prompts = [ids(draw.randint(2, 9)) for _ in range(4)]
    return [
        Example(example_id="", group="", prompt="", reference="", prompt_ids=prompt, answer_ids=ids(4))
        for prompt in prompts
    ]


def loss_of(model, batch):
    """Mean negative log likelihood of the batch's answer tokens."""
    total = 0.0
    for e in batch:
        logits = model(input_ids=torch.tensor([[*e.prompt_ids, *e.answer_ids]])).logits[0]
        answers = logits[len(e.prompt_ids) - 1 : -1]
        total += torch.nn.functional.cross_entropy(answers, torch.tensor(e.answer_ids), reduction="sum")
    return total / sum(len(e.answer_ids) for e in batch)


class Packed:
    """An adapter in the second of two slots; the first trains on other data with AdamW."""

    def __init__(self, model, layers, state):
        packed = PackedModel(
            model, layers, device=CPU, compute_dtype=torch.float64, frozen_weight=NONE.frozen_weight
        )
        stack = AdapterStack(packed.layers, slots=2, rank=8, device=CPU, compute_dtype=torch.float64)
        self.pack, self.like = Pack(packed, stack, PassRunner(CPU, graphs=False), dropout=False), state
        for slot, rule in enumerate((ADAMW, LoraPlus(RATIO))):
            settings = Settings(scaling=2.0, weight_decay=DECAY, max_grad_norm=CLIP, rule=rule)
            self.pack.put(slot, SlotState(matrices=state), settings)

    def step(self, number):
        batches = {
            slot: OptimizerBatch(examples(number + 100 * (1 - slot)), seed=slot, step=number, dropout=False)
            for slot in range(2)
        }
        while waiting := {slot: batch for slot, batch in batches.items() if not batch.done}:
            train_pass(self.pack, waiting, tokens=40)
        self.pack.update(0, RATE)
        return self.pack.update(1, RATE / (number + 1)).tolist()

    def matrices(self):
        return self.pack.take(1, self.like, moments=False).matrices


@pytest.fixture
def adapted(load_fp64):
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False
    )
    torch.manual_seed(0)
    return get_peft_model(load_fp64(), config, autocast_adapter_dtype=False).eval()


def test_lora_plus_is_that_of_peft(load_fp64, adapted):
    state = {name: t.detach().clone() for name, t in get_peft_model_state_dict(adapted).items()}
    layers = [name.removeprefix("base_model.model.").rpartition(".lora_A")[0] for name in state]
    mine = Packed(load_fp64(), [name for name in layers if name], state)
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = create_loraplus_optimizer(
        adapted,
        torch.optim.AdamW,
        lr=RATE,
        loraplus_lr_ratio=RATIO,
        loraplus_weight_decay=DECAY,
        betas=BETAS,
        eps=EPSILON,
    )
    ratios = [group["lr"] / RATE for group in optimizer.param_groups]
    for step in range(STEPS):
        for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
            group["lr"] = ratio * RATE / (step + 1)
        optimizer.zero_grad()
        loss = loss_of(adapted, examples(step))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP).item()
        optimizer.step()
        assert mine.step(step) == pytest.approx([loss.item(), norm], rel=1e-9)
        assert norm > CLIP
        theirs = get_peft_model_state_dict(adapted)
        for name, matrix in mine.matrices().items():
            torch.testing.assert_close(matrix, theirs[name], rtol=1e-8, atol=1e-10)


def test_spans_of_both_matrices_cover_the_row_in_as_few_parts_as_families_have():
    layers = {"a.q_proj": (8, 8), "a.k_proj": (8, 4), "a.o_proj": (8, 8)}
    stack = AdapterStack(layers, slots=2, rank=8, device=CPU, compute_dtype=torch.float32)
    pairs = [stack.matrices(stack.master[:1], layer) for layer in layers]
    a, b = joined_spans(a for a, _ in pairs), joined_spans(b for _, b in pairs)
    assert a == [slice(0, 128), slice(224, 288)] and b == [slice(128, 224), slice(288, 352)]
    assert stack.master.shape == (2, 352)


def row(seed):
    return torch.randn(12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slot_of(rule, *, master=None, dtype=torch.float64, loss_scaling=False):
    rows = SlotRows(
        (row(0) if master is None else master).to(dtype),
        torch.zeros(12, dtype=dtype),
        spans_a=[slice(4), slice(8, 10)],
        spans_b=[slice(4, 8), slice(10, None)],
    )
    return SlotOptimizer(rows, rule, weight_decay=0.1, max_grad_norm=1.0, loss_scaling=loss_scaling), rows


def test_a_ratio_of_one_is_adamw_to_the_bit():
    (plain, mine), (plus, theirs) = slot_of(ADAMW), slot_of(LoraPlus(1.0))
    for step in range(3):
        for optimizer, rows in ((plain, mine), (plus, theirs)):
            rows.gradient.add_(row(step + 1))
            optimizer.step(0.1)
    assert torch.equal(mine.master, theirs.master)
    for name, value in plain.moments().items():
        assert torch.equal(plus.moments()[name], value)


def test_moments_of_lora_plus_are_rows_by_adamws_names_and_go_on_exactly():
    optimizer, rows = slot_of(LoraPlus(4.0))
    for step in range(2):
        rows.gradient.add_(row(step + 1))
        optimizer.step(0.1)
    moments = {name: value.clone() for name, value in optimizer.moments().items()}
    assert {name: value.shape for name, value in moments.items()} == {
        "step": torch.Size([]),
        "exp_avg": rows.master.shape,
        "exp_avg_sq": rows.master.shape,
    }
    assert float(moments["step"]) == 2
    again, other = slot_of(LoraPlus(4.0), master=rows.master.clone())
    again.restore(moments, optimizer.scaler.state_dict())
    for one, its in ((optimizer, rows), (again, other)):
        its.gradient.add_(row(9))
        one.step(0.1)
    assert torch.equal(rows.master, other.master) and float(again.moments()["step"]) == 3


def test_an_overflow_leaves_out_the_step_of_both_rates():
    optimizer, rows = slot_of(LoraPlus(4.0), dtype=torch.float32, loss_scaling=True)
    before, scale = rows.master.clone(), optimizer.loss_scale
    rows.gradient.add_(row(1).float())
    rows.gradient[0] = torch.inf  # of a matrix A
    optimizer.step(0.1)
    assert torch.equal(rows.master, before) and optimizer.loss_scale == scale / 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("loss_scaling", [False, True])
def test_on_a_gpu_lora_plus_makes_the_steps_of_the_cpu(loss_scaling):
    def on(device, dtype):
        drawn = torch.randn(7, 10_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        master, *gradients = drawn.to(device, dtype)
        rows = SlotRows(
            master,
            torch.zeros_like(master),
            spans_a=[slice(1024), slice(4000, 9001)],
            spans_b=[slice(1024, 4000), slice(9001, None)],  # the last is not aligned
        )
        scaling = loss_scaling and device == "cuda"
        optimizer = SlotOptimizer(
            rows, LoraPlus(8.0), weight_decay=0.1, max_grad_norm=1.0, loss_scaling=scaling
        )
        for gradient in gradients:
            rows.gradient.add_(gradient * optimizer.loss_scale)
            optimizer.step(1e-2)
        return master.double().cpu(), float(optimizer.moments()["step"])

    (mine, steps), (expected, _) = on("cuda", torch.float32), on("cpu", torch.float64)
    assert steps == 6
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OptimizerName)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_takes_the_bytes_that_admission_counts(name, dtype):
    optimizer, rows = slot_of(update_rule(TrainingParameters(optimizer=name)), dtype=dtype)
    rows.gradient.fill_(1.0)
    optimizer.step(0.1)
    rows_of_state = [value for value in optimizer.moments().values() if value.ndim]
    taken = sum(value.nbytes for value in rows_of_state) / rows.master.numel()
    assert taken == state_bytes_per_number([name], wide=dtype.itemsize)


def test_a_trials_rule_is_what_its_hyperparameters_say():
    assert update_rule(TrainingParameters()) == ADAMW
    plus = TrainingParameters(optimizer="lora_plus", lora_plus_ratio=3.0)
    assert update_rule(plus) == LoraPlus(3.0)
