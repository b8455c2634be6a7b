"""A pack agrees with transformers' Trainer and PEFT on the same nf4 base and the same batches."""

import pytest
import torch
from torch.utils.data import SequentialSampler

from loratory.objectives.events import Start
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.pack import Pack
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.slots import Slots
from loratory.objectives.qlora.trial.arrivals import new_trial
from loratory.objectives.qlora.trial.trial import Selection
from loratory.objectives.stopping import NeverStop
from loratory.spaces.metric_names import Direction

STEPS, BATCH = 52, 8


def padded(rows):
    longest = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    return {
        name: torch.tensor([[*row[name], *[value] * (longest - len(row[name]))] for row in rows])
        for name, value in fill.items()
    }


def rows_of(examples):
    return [
        {
            "input_ids": [*e.prompt_ids, *e.answer_ids],
            "attention_mask": [1] * len(e),
            "labels": [*[-100] * len(e.prompt_ids), *e.answer_ids],
        }
        for e in examples
    ]


def trainer_losses(model, examples, folder, training):
    from transformers import Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=BATCH // 2,
        num_train_epochs=1,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=0,
        max_grad_norm=training.max_grad_norm,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = InOrder(model=model, args=arguments, train_dataset=rows_of(examples), data_collator=padded)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "grad_norm" in log]
    return [log["loss"] for log in logs], [float(log["grad_norm"]) for log in logs]


def packed_points(base, architecture, train, trials):
    """The curve of the first trial, with others beside it, and its adapter's files before its first step."""
    model = PackedModel(
        base.model,
        architecture.linear_layers,
        device=base.device,
        compute_dtype=base.compute_dtype,
        frozen_weight=base.format.frozen_weight,
    )
    stack = AdapterStack(
        model.layers, slots=len(trials), rank=16, device=model.device, compute_dtype=model.compute_dtype
    )
    pack = Pack(model, stack, PassRunner(model.device, graphs=False), dropout=True)
    slots = Slots(pack, train, tokens_per_pass=600)
    selection = Selection(metric="loss", direction=Direction.MINIMIZE, rule=NeverStop())
    given = {"architecture": architecture, "selection": selection}
    runs = [
        new_trial(Start(trial=trial), train_examples=len(train), evaluations=1, **given) for trial in trials
    ]
    start = runs[0].adapter.files(runs[0].phase.state.matrices, base_name=None, revision=None)
    for run in reversed(runs):
        slots.place(run)
    while runs[0].trains:
        slots.advance()
    slots.collect_results()
    assert all(run.progress.optimizer_steps > 3 for run in runs[1:])
    return runs[0], start


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_same_curve_as_trainer_with_peft(
    make_study, make_trial, make_examples, adapter_folder, tmp_path, quantization
):
    from peft import PeftModel

    study, train = make_study(model={"quantization": quantization}), make_examples(104, 3)
    common = {"warmup": 0.0, "weight_decay": 0.1, "epochs": 4.0}
    trials = (
        make_trial(study, dropout=0.0, batch_size=BATCH, learning_rate=5e-3, **common),
        make_trial(study, 1, seed=3, dropout=0.3, batch_size=5, rank=16, learning_rate=1e-2, **common),
        make_trial(study, 2, seed=4, batch_size=17, rank=2, target_modules=("v_proj", "up_proj"), **common),
    )
    base, reference = (load_base(study.model, resolve_base(study.model)) for _ in range(2))
    run, start = packed_points(base, read_architecture(resolve_base(study.model)), train, trials)
    assert run.plan.optimizer_steps == len(run.points) == STEPS

    peft_model = PeftModel.from_pretrained(reference.model, str(adapter_folder(start)), is_trainable=True)
    ordered = [train[index] for step in range(STEPS) for index in run.plan.batch(step)]
    losses, norms = trainer_losses(peft_model, ordered, tmp_path, trials[0].training)

    assert len(losses) == STEPS
    assert losses[-1] < 0.7 * losses[0]
    assert [point.loss for point in run.points] == pytest.approx(losses, rel=1e-5)
    assert [point.grad_norm for point in run.points] == pytest.approx(norms, rel=1e-4)
