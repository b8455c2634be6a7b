"""transformers' Trainer with PEFT, on the same nf4 base and the same batches, is what the loop is held to."""

import pytest
import torch
from torch.utils.data import SequentialSampler

from loratory.objectives.qlora.adapter import new_adapter
from loratory.objectives.qlora.base import keep_weights_in_place, load_base
from loratory.objectives.qlora.plan import Plan
from loratory.objectives.qlora.reference import resolve_base
from loratory.objectives.qlora.slot import open_slot
from loratory.objectives.qlora.training import train_step

TARGETS = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
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


def test_same_curve_as_trainer_with_peft(make_study, make_trial, make_examples, adapter_folder, tmp_path):
    from peft import PeftModel

    study = make_study()
    train = make_examples(104, 3)
    trial = make_trial(
        study, dropout=0.0, warmup=0.0, weight_decay=0.1, batch_size=BATCH, epochs=4.0, learning_rate=5e-3
    )
    plan = Plan(training=trial.training, seed=trial.seed, train_examples=len(train), evaluations=1)
    assert plan.optimizer_steps == STEPS
    base, reference = (load_base(study.model, resolve_base(study.model)) for _ in range(2))
    adapter = new_adapter(base, name="slot_0", training=trial.training, targets=TARGETS, seed=trial.seed)
    start = adapter_folder(adapter.files(adapter.state()))
    slot = open_slot(base, trial, plan=plan, adapter=adapter, micro_batch_size=4)
    points = [train_step(base, slot, train) for _ in range(STEPS)]

    keep_weights_in_place(reference.model)
    peft_model = PeftModel.from_pretrained(reference.model, str(start), is_trainable=True)
    ordered = [train[index] for step in range(STEPS) for index in plan.batch(step)]
    losses, norms = trainer_losses(peft_model, ordered, tmp_path, trial.training)

    assert len(losses) == STEPS
    assert losses[-1] < 0.7 * losses[0]
    assert [point.loss for point in points] == pytest.approx(losses, rel=2e-3)
    assert [point.grad_norm for point in points] == pytest.approx(norms, rel=2e-2)
    assert [point.loss for point in points][:5] == pytest.approx(losses[:5], rel=1e-5)
