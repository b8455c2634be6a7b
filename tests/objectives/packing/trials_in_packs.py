"""Trials that come to a pack and leave it, for tests of what each of them computes there."""

import random
from collections import deque
from dataclasses import dataclass, replace

import torch

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.batch import OptimizerBatch, train_pass
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.pack import Pack, Settings
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import FILE_PREFIX, AdapterStack
from loratory.objectives.packing.update_rules import ADAMW, UpdateRule
from loratory.objectives.qlora.base.formats.nf4 import NF4

RANK, VOCABULARY, WHOLE = 16, 160, 10**6
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TINY = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial with the passes at which it enters and leaves its pack."""

    seed: int
    rank: int = 8
    modules: tuple[str, ...] = MODULES
    scaling: float = 1.0
    dropout: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float | None = None
    rule: UpdateRule = ADAMW
    learning_rate: float = 5e-3
    batch_size: int = 2
    updates: int = 3
    longest: int = 12
    arrives: int = 0
    leaves_after: int | None = None
    interrupted_after: int | None = None

    @property
    def settings(self):
        return Settings(
            scaling=self.scaling,
            dropout=self.dropout,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            rule=self.rule,
        )

    def adapter(self, layers, dtype=torch.float64):
        generator = torch.Generator().manual_seed(self.seed)
        state = {}
        for name, (inputs, outputs) in layers.items():
            if name.rpartition(".")[2] in self.modules:
                for matrix, shape in (("A", (self.rank, inputs)), ("B", (outputs, self.rank))):
                    drawn = torch.randn(shape, generator=generator, dtype=torch.float64) * 0.2
                    state[f"{FILE_PREFIX}{name}.lora_{matrix}.weight"] = drawn.to(dtype)
        return state

    def batch(self, step):
        draw = random.Random(f"{self.seed} {step}")

        def ids(shortest):
            return tuple(draw.choices(range(VOCABULARY), k=draw.randint(shortest, self.longest)))

        # Queries of a single token have no gradient: AdamW would make large steps of its rounding error.
        examples = [
            Example(example_id="", group="", prompt="", reference="", prompt_ids=ids(2), answer_ids=ids(1))
            for _ in range(self.batch_size)
        ]
        return OptimizerBatch(examples, seed=self.seed, step=step, dropout=self.dropout > 0)


@dataclass
class Run:
    """A trial on its way, with what each of its updates left."""

    trial: Trial
    number: int
    state: SlotState
    step: int = 0
    passes: int = 0
    batch: OptimizerBatch | None = None

    @property
    def over(self):
        return self.step == self.trial.updates or self.passes == self.trial.leaves_after


def new_pack(model, *, slots, dropout=True, **options):
    stack = AdapterStack(
        model.layers, slots=slots, rank=RANK, device=model.device, compute_dtype=model.compute_dtype
    )
    return Pack(model, stack, PassRunner(model.device, graphs=False), dropout=dropout, **options)


def train(model, trials, *, slots, tokens, **options):
    """The updates of each trial, as (matrices, loss, norm), on one pack with some options."""
    pack = new_pack(model, slots=slots, dropout=any(trial.dropout for trial in trials), **options)
    dtype = pack.stack.master.dtype
    coming = deque(
        Run(t, n, SlotState(matrices=t.adapter(model.layers, dtype)))
        for n, t in sorted(enumerate(trials), key=lambda numbered: numbered[1].arrives)
    )
    running, made, clock = {}, [[] for _ in trials], 0
    while coming or running:
        for slot in range(slots):
            if slot not in running and coming and (coming[0].trial.arrives <= clock or not running):
                running[slot] = run = coming.popleft()
                pack.put(slot, run.state, run.trial.settings)
        turn = clock % len(running)
        batches = {}
        for slot in [*sorted(running)[turn:], *sorted(running)[:turn]]:
            run = running[slot]
            run.batch = run.batch or run.trial.batch(run.step)
            batches[slot] = run.batch
        train_pass(pack, batches, tokens=tokens)
        clock += 1
        for slot, run in list(running.items()):
            run.passes += 1
            if run.batch.done:
                loss, norm = pack.update(slot, run.trial.learning_rate * 0.8**run.step).tolist()
                run.step, run.batch = run.step + 1, None
                matrices = pack.take(slot, run.state.matrices, moments=False).matrices
                made[run.number].append((matrices, loss, norm))
            if run.over:
                pack.clear(slot)
                del running[slot]
            elif run.passes == run.trial.interrupted_after:
                run.state, run.batch = pack.take(slot, run.state.matrices, moments=True), None
                pack.clear(slot)
                coming.append(running.pop(slot))
    return made


def alone(model, trial, **options):
    """The trial with the base to itself, each batch in one pass."""
    undisturbed = replace(trial, arrives=0, leaves_after=None, interrupted_after=None)
    return train(model, [undisturbed], slots=1, tokens=WHOLE, **options)[0]


def exact_norm(self, hidden):
    # transformers' own rounds to fp32, where a last bit may turn.
    return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


def packed(model, dtype):
    names = [name for name, _ in model.named_modules() if name.rpartition(".")[2] in MODULES]
    if dtype is torch.float64:
        model.double()
        for module in model.modules():
            if type(module).__name__ == "LlamaRMSNorm":
                module.forward = exact_norm.__get__(module)
    elif dtype is torch.bfloat16:
        model.bfloat16()
    return PackedModel(
        model,
        names,
        device=torch.device("cpu"),
        compute_dtype=dtype,
        frozen_weight=NF4.frozen_weight,  # reads dense layers too
    )
