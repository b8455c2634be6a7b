"""The whole-study benchmark's fixed list of trials, and the study file that runs it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packing_cells.device_memory import cores

LEARNING_RATES = (5e-5, 1e-4, 2e-4, 4e-4)
BATCH_SIZES = (4, 8, 16)
RANKS = (8, 16, 32)
EVALUATIONS = 4
WARMUP = 0.05
Parameters = dict[str, float]
"""Parameters of a trial: learning_rate, batch_size, rank and epochs."""


@dataclass(frozen=True, kw_only=True)
class StudySize:
    """The size of a study; all examples have one length, and so have all answers.

    Attributes:
        train: training examples.
        dev: prompts of each evaluation.
        select: prompts of the final one.
        prompt_tokens: tokens per prompt.
        answer_tokens: of a reference answer, the end token among them, and of every decoded one.
        updates: numbers of optimiser steps that trials have.
        at_once: prompts that `generate` decodes together.
    """

    train: int
    dev: int
    select: int
    prompt_tokens: int
    answer_tokens: int
    updates: tuple[int, ...]
    at_once: int = 64


_GPU_SIZE = StudySize(train=480, dev=64, select=256, prompt_tokens=64, answer_tokens=64, updates=(40, 60, 80))
_TINY_SIZE = StudySize(train=96, dev=8, select=16, prompt_tokens=32, answer_tokens=16, updates=(6, 9, 12))


def size_of(shape: str) -> StudySize:
    """Return the size of the study for a model: a small one for the tiny model, which a CPU runs."""
    return _TINY_SIZE if shape == "tiny" else _GPU_SIZE


def trial_list(count: int, size: StudySize) -> list[Parameters]:
    """Return the first `count` trials of a fixed list; batch sizes, ranks and rates are mixed."""
    trials = []
    for number in range(count):
        batch_size = BATCH_SIZES[number % 3]
        updates = size.updates[(number + number // 9) % len(size.updates)]
        trials.append(
            {
                "learning_rate": LEARNING_RATES[number % 4],
                "batch_size": batch_size,
                "rank": RANKS[number // 3 % 3],
                "epochs": updates * batch_size / size.train,
            }
        )
    return trials


def updates_of(trial: Parameters, size: StudySize) -> int:
    """Return the number of optimiser steps of a trial."""
    return round(trial["epochs"] * size.train / trial["batch_size"])


def reference_trials(trials: Sequence[Parameters], count: int) -> list[int]:
    """Choose `count` trials that represent all: every batch size in turn, spread over the list."""
    by_batch: dict[float, list[int]] = {}
    for number, trial in enumerate(trials):
        by_batch.setdefault(trial["batch_size"], []).append(number)
    groups = [by_batch[size] for size in sorted(by_batch)]
    chosen = []
    for place, group in enumerate(groups):
        wanted = min(len(group), len(range(place, count, len(groups))))
        chosen += [group[(2 * index + 1) * len(group) // (2 * wanted)] for index in range(wanted)]
    return sorted(chosen)


def plan_of(shape: str, trials: Sequence[Parameters], size: StudySize) -> dict[str, Any]:
    """Return what both sides must have in common for their figures to be compared."""
    return {
        "shape": shape,
        "trials": len(trials),
        "updates": sum(updates_of(trial, size) for trial in trials),
        "size": {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(size).items()},
    }


def study_file(
    name: str,
    *,
    trials: Sequence[Parameters],
    size: StudySize,
    base: Path,
    data: Path,
    storage: Path,
    slots: int | None,
    workers: int = 1,
) -> dict[str, Any]:
    """Return the study file as plain data.

    Args:
        name: of the study.
        trials: what it runs; its space has no more values than they have.
        size: examples and evaluations.
        base: folder of the model.
        data: folder of train.jsonl and eval.jsonl.
        storage: SQLite file for Optuna.
        slots: trials that train at once on a worker; None leaves it to the engine.
        workers: number of workers, each with one GPU where there are GPUs.
    """
    return {
        "name": name,
        "metric": "loss",
        "trials": len(trials),
        "storage": f"sqlite:///{storage.absolute()}",
        "space": {key: sorted({trial[key] for trial in trials}) for key in trials[0]},
        "training": {"dropout": 0.0, "schedule": "cosine", "warmup": WARMUP},
        "model": {"base": str(base.absolute())},
        "data": {
            "train": str(data.absolute() / "train.jsonl"),
            "eval": str(data.absolute() / "eval.jsonl"),
            "format": "completion",
            "max_length": size.prompt_tokens + size.answer_tokens,
            "cleaning": {"near_duplicate_threshold": None},
        },
        "evaluation": {
            "evaluations": EVALUATIONS,
            "dev_examples": size.dev,
            "confirm_examples": 0,
            "max_new_tokens": size.answer_tokens,
            "batch_size": size.at_once,
            "metrics": ["exact_match"],
        },
        "sampler": "random",
        "pruner": "none",
        "resources": {"workers": workers, "cpus_per_worker": min(4, max(1, cores() // workers))},
        "packing": {"slots": slots},
        "tracking": {"wandb": {"mode": "off"}},
    }
