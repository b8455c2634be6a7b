"""Train a trial of a study again with plain transformers, PEFT and bitsandbytes, and compare the losses.

    python examples/reproduce_trial.py runs/NAME TRIAL [--updates N]

Run it in the folder in which the study was run. loratory only reads the study folder and prepares the data;
base, initial weights, order of the examples, optimiser and schedule are those that other programs have too.
With dropout 0, in fp32, the losses are those of the trial up to rounding (1e-5). With dropout they differ by
the masks, which loratory draws from a hash of seed, update and place; in bf16 and fp16 by the rounding.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, get_scheduler

from loratory.objectives.objective import Beginning, objective_kind
from loratory.objectives.quickstart import base_folder
from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import ADAPTER_CONFIG, StudyFolder
from loratory.spaces.model import QUICKSTART_BASE, ModelSpec
from loratory.spaces.study import StudySpec
from loratory.spaces.training import OptimizerName, Schedule, TrainingParameters
from loratory.spaces.trial import trial_key

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
GET_SCHEDULER = {
    Schedule.COSINE: "cosine",
    Schedule.LINEAR: "linear",
    Schedule.CONSTANT: "constant_with_warmup",
}


def reproduce(path: Path, key: str, *, updates: int | None = None) -> list[tuple[float, float]]:
    """Train the first updates of a trial, and print and return (recorded loss, loss here) of each.

    Args:
        path: the study folder.
        key: name of the trial, such as `0007`.
        updates: number of updates; None makes all that the trial made.
    """
    folder = StudyFolder(path)
    manifest, record, curve = folder.read_manifest(), folder.read_record(key), folder.read_curve(key)
    study, training = manifest.spec, manifest.spec.resolve(record.params)
    data = prepared_data(study, manifest.created_at, manifest.hashes["data"])
    print(f"trial {key}: {described(training)}, seed {record.provenance.seed}")

    dtype = getattr(torch, record.provenance.compute_dtype or "float32")
    kept = adapter_config(folder, key)
    model = load_base(study, dtype, published_class(kept))
    model = add_adapter(model, training, record, kept.get("target_modules", training.target_modules))
    batches = list(in_order(len(data.train), training, seed=record.provenance.seed))
    optimizer = make_optimizer(model, training)
    warmup = warmup_of(record, training, len(batches))
    scheduler = make_scheduler(optimizer, training, warmup=warmup, updates=len(batches))
    pairs = []
    for point, batch in zip(curve[:updates], batches, strict=False):
        loss = backward(model, [data.train[index] for index in batch], dtype)
        torch.nn.utils.clip_grad_norm_(trainable(model), training.max_grad_norm or math.inf)
        rate = scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        pairs.append((point.loss, loss))
        print(f"update {point.optimizer_step:5d}  rate {rate:.4e}  trial {point.loss:.7f}  here {loss:.7f}")
    print(f"largest difference of {len(pairs)} losses: {max(abs(a - b) for a, b in pairs):.1e}")
    return pairs


def prepared_data(study: StudySpec, created_at: str, sha256: str) -> Any:
    """Read, clean, split and encode the data of the study as it did."""
    prepared = objective_kind(study.objective).prepare(study, Beginning(created_at=created_at))
    if prepared.hashes["data"] != sha256:
        raise SystemExit("data must be what the study began with, its content has changed")
    return prepared.payload.data


def load_base(study: StudySpec, dtype: torch.dtype, loader: Any = AutoModelForCausalLM) -> Any:
    """Load the frozen base, in nf4 or as it is, with a class of transformers."""
    spec = study.model
    assert spec is not None
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": DEVICE}, "revision": spec.revision}
    if spec.quantization == "nf4":
        options["quantization_config"] = nf4(spec, dtype)
    source = base_folder() if spec.base == QUICKSTART_BASE else Path(spec.base).expanduser()
    model = loader.from_pretrained(str(source), trust_remote_code=spec.trust_remote_code, **options)
    for module in model.modules():
        # bitsandbytes would repack weights of a CPU with bf16 instructions, and their gradients were wrong.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model.requires_grad_(False)


def nf4(spec: ModelSpec, dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return the quantisation of QLoRA."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=spec.double_quantization,
        bnb_4bit_compute_dtype=dtype,
    )


def adapter_config(folder: StudyFolder, key: str) -> dict[str, Any]:
    """Return the configuration of the trial's adapter; empty where the adapter was not kept."""
    kept = folder.adapter(key) / ADAPTER_CONFIG
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    return found


def published_class(config: dict[str, Any]) -> Any:
    """Return the class that an adapter was made for, which for a multimodal release has other layer names."""
    name = (config.get("auto_mapping") or {}).get("base_model_class")
    return getattr(transformers, name) if name else AutoModelForCausalLM


def add_adapter(model: Any, training: TrainingParameters, record: TrialRecord, names: Any) -> Any:
    """Add the adapter with its initial weights, which PEFT draws after the trial's seed."""
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=training.rank,
        lora_alpha=training.lora_alpha,  # type: ignore[arg-type]  # PEFT takes fractions too
        lora_dropout=training.dropout,
        target_modules=names if isinstance(names, str) else list(names),
        use_rslora=training.rank_stabilized,
    )
    torch.manual_seed(record.provenance.seed)
    adapted = get_peft_model(model, config)
    adapted.eval()  # the base's own dropout stays off
    for name, module in adapted.named_modules():
        if "lora_dropout" in name:
            module.train()
    return adapted


def in_order(count: int, training: TrainingParameters, *, seed: int) -> Iterator[list[int]]:
    """Yield the indices of the examples of each update, as `order` in the trial's record says."""
    seen = max(1, round(training.epochs * count))
    epochs = [np.random.default_rng([seed, epoch]).permutation(count) for epoch in range(-(-seen // count))]
    order = np.concatenate(epochs)[:seen].tolist()
    for first in range(0, seen, training.batch_size):
        yield order[first : first + training.batch_size]


def make_optimizer(model: Any, training: TrainingParameters) -> torch.optim.AdamW:
    """Return AdamW; with LoRA+ the matrices B have a larger rate."""
    ratio = training.lora_plus_ratio if training.optimizer is OptimizerName.LORA_PLUS else 1.0
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = [
        {
            "params": [weight for name, weight in named if part in name],
            "lr": training.learning_rate * factor,
        }
        for part, factor in (("lora_A", 1.0), ("lora_B", ratio))
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, weight_decay=training.weight_decay)


def make_scheduler(
    optimizer: torch.optim.Optimizer, training: TrainingParameters, *, warmup: int, updates: int
) -> Any:
    """Return the schedule: transformers' own, or that of loratory 0.1.0."""
    name = GET_SCHEDULER.get(training.schedule)
    if name is not None:
        return get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=updates)
    return LambdaLR(optimizer, nonzero_start(training.schedule, warmup=warmup, updates=updates))


def nonzero_start(schedule: Schedule, *, warmup: int, updates: int) -> Callable[[int], float]:
    """Return the factors of loratory 0.1.0's schedules."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / (updates - warmup)
        if schedule is Schedule.COSINE_NONZERO_START:
            return (1 + math.cos(math.pi * progress)) / 2
        return 1 - progress if schedule is Schedule.LINEAR_NONZERO_START else 1.0

    return factor


def backward(model: Any, examples: list[Any], dtype: torch.dtype) -> float:
    """Add the gradient of a batch, one example after the other; return the mean loss of learned tokens."""
    tokens, total = sum(map(sum, map(learned, examples))), 0.0
    for example in examples:
        ids = torch.tensor([[*example.prompt_ids, *example.answer_ids]], device=DEVICE)
        labels = ids[0].masked_fill(~torch.tensor(learned(example), device=DEVICE), -100)
        with torch.autocast(DEVICE.type, dtype=dtype, enabled=dtype != torch.float32):
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[1:], reduction="sum") / tokens
        loss.backward()
        total += loss.item()
    return total


def learned(example: Any) -> list[bool]:
    """Return for each token whether the loss is on it: on the answer, or on what `data.learn: all` says."""
    alone = [False] * len(example.prompt_ids) + [True] * len(example.answer_ids)
    return alone if example.learned is None else list(example.learned)


def trainable(model: Any) -> list[torch.nn.Parameter]:
    """Return the adapter's matrices."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def warmup_of(record: TrialRecord, training: TrainingParameters, updates: int) -> int:
    """Return the number of updates of the warm-up; records of loratory 0.1.0 do not hold it."""
    if record.warmup_steps is not None:
        return record.warmup_steps
    return min(round(training.warmup * updates), updates - 1)


def described(training: TrainingParameters) -> str:
    """Return the trial's hyperparameters in a line."""
    note = " (other masks than the trial's: the losses differ)" if training.dropout else ""
    values = training.described() | {"dropout": f"{training.dropout:g}{note}"}
    return ", ".join(f"{name} {value}" for name, value in values.items())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study_folder", type=Path, help="runs/NAME")
    parser.add_argument("trial", help="number or key of the trial")
    parser.add_argument("--updates", type=int, help="how many; all that the trial made unless given")
    given = parser.parse_args()
    key = trial_key(int(given.trial)) if given.trial.isdigit() else given.trial
    reproduce(given.study_folder, key, updates=given.updates)


if __name__ == "__main__":
    main()
