"""Variant (a): `transformers.Trainer` with PEFT, one trial after another, at its best setting."""

import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from loratory.objectives.data.prepared import Example
from packing_cells.device_memory import DeviceMemory, peak_bytes, start_peak, synchronize
from packing_cells.measured import Measured, Options
from packing_cells.models import build_model
from packing_cells.rendezvous import Alone, Rendezvous
from packing_cells.shapes import ModelShape
from packing_cells.workload import Workload, trial_examples

RANK, ALPHA, LEARNING_RATE = 16, 32, 2e-4
_EXTRA_STEPS = 10_000  # a process trains on until its slowest neighbour has been timed


def measure_trainer(shape: ModelShape, workload: Workload, *, steps: int, options: Options) -> Measured:
    """Measure useful tokens per second of one trial that has the device to itself.

    Args:
        shape: the model.
        workload: the trial's data.
        steps: optimiser steps that are timed.
        options: device, warm-up and seed.
    """
    memory = DeviceMemory(options.device, context_bytes=options.context_bytes)
    clock = train_trial(shape, workload, steps=steps, options=options)
    return Measured(
        tokens_per_second=clock.tokens / clock.seconds,
        trials=1,
        steps=steps,
        seconds=clock.seconds,
        peak_memory_bytes=peak_bytes(options.device),
        device_memory_bytes=memory.device_bytes(),
    )


def train_trial(
    shape: ModelShape,
    workload: Workload,
    *,
    steps: int,
    options: Options,
    meeting: Alone | Rendezvous | None = None,
) -> "StepClock":
    """Build a model and train one trial on it.

    Args:
        shape: the model.
        workload: the trial's data.
        steps: optimiser steps that are timed.
        options: device, warm-up and seed.
        meeting: where the neighbours are waited for, before the clock starts and before training ends.
    """
    most_steps = options.warmup_steps + steps
    examples = trial_examples(workload, shape, steps=most_steps, seed=options.seed)
    model = with_adapter(build_model(shape, device=options.device), rank=RANK, seed=options.seed)
    collator = Collator(padding_id=model.config.pad_token_id)
    clock = StepClock(
        options.device, collator, first=options.warmup_steps, steps=steps, meeting=meeting or Alone()
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = OrderedTrainer(
            model=model,
            args=training_arguments(
                folder,
                device=options.device,
                batch_size=workload.batch_size,
                max_steps=most_steps + _EXTRA_STEPS,
            ),
            train_dataset=rows_of(examples),
            data_collator=collator,
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)  # standard output is for the result
        trainer.train()
    return clock


class OrderedTrainer(Trainer):  # type: ignore[misc]
    """Trainer that takes examples in order, or where lengths differ puts examples of like length together."""

    def _get_train_sampler(self, *_: Any) -> Any:
        lengths = [len(row["input_ids"]) for row in self.train_dataset]
        if len(set(lengths)) == 1:
            return SequentialSampler(self.train_dataset)
        return LengthGroupedSampler(self.args.per_device_train_batch_size, lengths=lengths)


def with_adapter(model: Any, *, rank: int, seed: int) -> Any:
    """Add a fresh adapter to all linear layers, with alpha / rank of 2 and no dropout."""
    torch.manual_seed(seed)
    model.config.use_cache = False
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=ALPHA // RANK * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        bias="none",
    )
    return get_peft_model(model, config)


def training_arguments(
    folder: str,
    *,
    device: torch.device,
    batch_size: int,
    max_steps: int,
    learning_rate: float = LEARNING_RATE,
    schedule: str = "constant",
    warmup_steps: int = 0,
) -> TrainingArguments:
    """Return the fastest setting: no evaluation, logging or checkpoints."""
    on_gpu = device.type == "cuda"
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=batch_size,
        max_steps=max_steps,
        learning_rate=learning_rate,
        lr_scheduler_type=schedule,
        warmup_steps=warmup_steps,
        optim="adamw_torch_fused",
        bf16=on_gpu,
        use_cpu=not on_gpu,
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu,
        logging_strategy="no",
        logging_nan_inf_filter=False,  # it waits for the device in every step
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def rows_of(examples: Sequence[Example]) -> list[dict[str, list[int]]]:
    """Convert examples to what `Collator` takes."""
    return [
        {
            "input_ids": [*example.prompt_ids, *example.answer_ids],
            "labels": [*[-100] * len(example.prompt_ids), *example.answer_ids],
        }
        for example in examples
    ]


class Collator:
    """Pads a batch on the right to its longest example, and counts its useful tokens.

    Causal attention never sees padding on the right, so that no mask is needed and the fastest kernel runs.
    """

    def __init__(self, padding_id: int) -> None:
        self._padding_id = padding_id
        self.useful_tokens: list[int] = []

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Return the tensors of a batch, int64 [B, T]."""
        longest = max(len(row["input_ids"]) for row in rows)
        self.useful_tokens.append(sum(len(row["input_ids"]) for row in rows))
        fill = {"input_ids": self._padding_id, "labels": -100}
        return {
            name: torch.tensor([[*row[name], *[value] * (longest - len(row[name]))] for row in rows])
            for name, value in fill.items()
        }


class StepClock(TrainerCallback):  # type: ignore[misc]
    """Times the steps after the warm-up, and ends training once all neighbours are timed too.

    Attributes:
        seconds: of the timed steps.
        tokens: useful tokens of the timed steps.
    """

    def __init__(
        self,
        device: torch.device,
        collator: Collator,
        *,
        first: int,
        steps: int,
        meeting: Alone | Rendezvous,
    ) -> None:
        self._device, self._collator, self._meeting = device, collator, meeting
        self._first, self._last = first, first + steps
        self._started = 0.0
        self.seconds, self.tokens = 0.0, 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """After each optimiser step."""
        if state.global_step == self._first:
            self._start()
        elif state.global_step == self._last:
            self._stop()
        if state.global_step >= self._last and self._meeting.everyone("timed"):
            control.should_training_stop = True

    def _start(self) -> None:
        synchronize(self._device)
        self._meeting.wait("warm")
        start_peak(self._device)
        self._started = time.perf_counter()

    def _stop(self) -> None:
        synchronize(self._device)
        self.seconds = time.perf_counter() - self._started
        # In order of training: one process collates, and may be a batch ahead.
        self.tokens = sum(self._collator.useful_tokens[self._first : self._last])
        self._meeting.arrive("timed")
