"""The study with `transformers.Trainer` and PEFT: one trial after another on a base that is loaded once.

What a person would add (logging, checkpoints, the best adapter on disk, metrics of the answers) is left out.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

from loratory.objectives.data.prepared import Example, PreparedData
from loratory.objectives.qlora.base.formats.nf4 import keep_weights_in_place
from loratory.objectives.qlora.trial.plan import Plan
from loratory.spaces.training import TrainingParameters
from packing_cells.decoding import decode
from packing_cells.device_memory import synchronize
from packing_cells.models import compute_dtype
from packing_cells.study_plan import EVALUATIONS, WARMUP, Parameters, StudySize
from packing_cells.trainer import Collator, OrderedTrainer, rows_of, training_arguments, with_adapter


class TrainerStudy:
    """Runs trials of the list on a resident base.

    Attributes:
        load_seconds: time of loading the base.
    """

    def __init__(self, base: Path, data: PreparedData, *, size: StudySize, device: torch.device) -> None:
        """Load the base, and run a little of everything once, untimed.

        Args:
            base: its folder.
            data: the splits, as the other side has them.
            size: how much is evaluated.
            device: where everything runs.
        """
        self._data, self._size, self._device = data, size, device
        began = time.perf_counter()
        self._model = _load(base, device)
        self.load_seconds = time.perf_counter() - began
        self._warm_up()

    def run(self, trial: Parameters, *, seed: int) -> dict[str, float]:
        """Run one trial, from making its adapter to its final evaluation.

        Returns:
            `updates`, and `setup_seconds`, `training_seconds`,
            `dev_seconds` (of all evaluations but the last), `select_seconds`.
        """
        return self._run(trial, self._data, seed=seed)

    def _warm_up(self) -> None:
        size, few = self._size, replace(self._data, dev=self._data.dev[:2], select=self._data.select[:2])
        self._size = replace(size, answer_tokens=2)
        trial = {"learning_rate": 1e-4, "batch_size": 4, "rank": 8, "epochs": 12 / len(few.train)}
        self._run(trial, few, seed=0)
        self._size = size

    def _run(self, trial: Parameters, data: PreparedData, *, seed: int) -> dict[str, float]:
        began = time.perf_counter()
        plan = Plan(
            training=TrainingParameters.model_validate({**trial, "dropout": 0.0, "warmup": WARMUP}),
            seed=seed,
            train_examples=len(data.train),
            evaluations=EVALUATIONS,
        )
        model = with_adapter(self._model, rank=plan.training.rank, seed=seed)
        inner = model.base_model.model
        dev = _Evaluations(lambda: self._evaluate(inner, data.dev), plan, self._device)
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._trainer(folder, model, plan, data.train, dev)
            self._wait()
            setup = time.perf_counter() - began
            trainer.train()
            self._wait()
        trained = time.perf_counter()
        self._evaluate(inner, data.select)
        self._wait()
        scored = time.perf_counter()
        self._model = model.unload()
        self._wait()
        return {
            "updates": plan.optimizer_steps,
            "setup_seconds": setup + time.perf_counter() - scored,
            "training_seconds": trained - began - setup - dev.seconds,
            "dev_seconds": dev.seconds,
            "select_seconds": scored - trained,
        }

    def _trainer(
        self, folder: str, model: Any, plan: Plan, train: Sequence[Example], dev: "_Evaluations"
    ) -> OrderedTrainer:
        steps, training = plan.optimizer_steps, plan.training
        order = [train[index] for step in range(steps) for index in plan.batch(step)]
        trainer = OrderedTrainer(
            model=model,
            args=training_arguments(
                folder,
                device=self._device,
                batch_size=training.batch_size,
                max_steps=steps,
                learning_rate=training.learning_rate,
                schedule="cosine",
                warmup_steps=plan.warmup_steps,
            ),
            train_dataset=rows_of(order),
            data_collator=Collator(padding_id=model.config.pad_token_id),
            callbacks=[dev],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    @torch.no_grad()
    def _evaluate(self, model: Any, examples: Sequence[Example]) -> float:
        """Compute loss and greedy answers in batches; return the mean of the batches' losses."""
        training, model.config.use_cache = model.training, True
        model.eval()
        losses = []
        with _in_dtype(model, compute_dtype(self._device)):
            for start in range(0, len(examples), self._size.at_once):
                rows = rows_of(examples[start : start + self._size.at_once])
                ids, labels = (
                    torch.tensor([row[name] for row in rows], device=self._device)
                    for name in ("input_ids", "labels")
                )
                losses.append(model(input_ids=ids, labels=labels, use_cache=False).loss)
                decode(model, ids[:, : self._size.prompt_tokens], new_tokens=self._size.answer_tokens)
        model.train(training)
        model.config.use_cache = False
        return float(torch.stack(losses).mean())

    def _wait(self) -> None:
        synchronize(self._device)


class _Evaluations(TrainerCallback):  # type: ignore[misc]
    """Evaluates at equal fractions of the schedule.

    Attributes:
        seconds: time of all evaluations.
    """

    def __init__(self, evaluate: Callable[[], float], plan: Plan, device: torch.device) -> None:
        self._evaluate, self._plan, self._device = evaluate, plan, device
        self._made = 0
        self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Evaluate if the schedule is due, after each optimiser step."""
        due = self._plan.evaluations_due(state.global_step)
        if due == self._made:
            return
        synchronize(self._device)
        began = time.perf_counter()
        self._evaluate()  # it ends by reading the loss, so that nothing is still to be waited for
        self._made = due
        self.seconds += time.perf_counter() - began


def _load(folder: Path, device: torch.device) -> Any:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = compute_dtype(device)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        device_map={"": device},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        ),
    )
    keep_weights_in_place(model)
    return model.requires_grad_(False)


@contextlib.contextmanager
def _in_dtype(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """Keep adapters in the compute dtype meanwhile, so that no matrix product casts them."""
    kept = {parameter: parameter.data for parameter in model.parameters() if parameter.requires_grad}
    for parameter in kept:
        parameter.data = parameter.data.to(dtype)
    try:
        yield
    finally:
        for parameter, data in kept.items():
            parameter.data = data
