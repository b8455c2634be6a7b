"""Cards that people have, as caps on the memory of a larger one, and the studies that run in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packing_cells.study_plan import StudySize

TRIALS = 4


@dataclass(frozen=True, kw_only=True)
class Cap:
    """A base in a card of some size.

    Attributes:
        shape: name of the base's sizes.
        free_gib: GiB of the device that are free when the study begins.
        length: tokens of every example.
        ranks: that the study searches.
        trials: of the study.
        sampler: of the study.
    """

    shape: str
    free_gib: float
    length: int = 1024
    ranks: tuple[int, ...] = (8, 16)
    trials: int = TRIALS
    sampler: str = "random"

    @property
    def name(self) -> str:
        """Name on the command line, in tables and in results."""
        return f"{self.shape}-{self.free_gib:g}"


CAPS = [
    Cap(shape="1b", free_gib=4),
    *(Cap(shape="7b", free_gib=free) for free in (24, 16, 12)),
    Cap(shape="7b", free_gib=8, length=512),
    *(Cap(shape="8b", free_gib=free) for free in (24, 16, 12)),
    *(Cap(shape="mistral-7b", free_gib=free) for free in (24, 16, 12)),
    *(Cap(shape="13b", free_gib=free) for free in (40, 24, 16)),
    Cap(shape="tiny", free_gib=1, length=64),  # tries the path on a CPU
]


# Of three ranks the largest fits no worker; TPE draws its first ten points at random.
INFEASIBLE = Cap(shape="1b", free_gib=4, ranks=(8, 16, 512), trials=24, sampler="tpe")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the study file that decide how a worker is laid out.

    Attributes:
        name: in tables.
        model: keys of section `model`.
        packing: keys of section `packing`.
    """

    name: str
    model: Mapping[str, Any] = field(default_factory=dict)
    packing: Mapping[str, Any] = field(default_factory=dict)


DEFAULT = Settings(name="default")


def by_hand(
    slots: int, tokens: int, *, checkpointing: bool = False, held: bool = False, bits: int = 32
) -> Settings:
    """Return settings that leave nothing open."""
    means = [word for word, on in (("gc", checkpointing), ("held", held), ("8bit", bits == 8)) if on]
    return Settings(
        name="-".join((f"K{slots}", f"T{tokens}", *means)),
        model={"gradient_checkpointing": checkpointing},
        packing={
            "slots": slots,
            "tokens_per_pass": tokens,
            "cache_base": held,
            "optimizer_bits": bits,
            "offload_optimizer": False,
        },
    )


# Each cap's five are what an experienced user would try first.
TIMED: dict[str, list[Settings]] = {
    "7b-24": [
        by_hand(1, 2048),
        by_hand(2, 2048),
        by_hand(2, 4096, checkpointing=True),
        by_hand(2, 2048, checkpointing=True, held=True),
        by_hand(4, 8192, checkpointing=True, bits=8),
    ],
    "7b-12": [
        by_hand(1, 1024),
        by_hand(2, 1024, bits=8),
        by_hand(1, 2048, checkpointing=True),
        by_hand(2, 4096, checkpointing=True),
        by_hand(4, 4096, checkpointing=True, bits=8),
    ],
    "8b-16": [
        by_hand(1, 1024),
        by_hand(2, 1024),
        by_hand(1, 4096, checkpointing=True),
        by_hand(2, 4096, checkpointing=True),
        by_hand(4, 8192, checkpointing=True, bits=8),
    ],
    "13b-24": [
        by_hand(1, 1024),
        by_hand(2, 1024, bits=8),
        by_hand(1, 4096, checkpointing=True),
        by_hand(2, 4096, checkpointing=True),
        by_hand(4, 8192, checkpointing=True, bits=8),
    ],
    "tiny-1": [by_hand(1, 128), by_hand(2, 256, held=True)],
}


def size_of_study(cap: Cap) -> StudySize:
    """Return the number of examples, half of whose tokens are the prompt."""
    half = cap.length // 2
    train = 16 if cap.shape == "tiny" else 64
    return StudySize(train=train, dev=8, select=16, prompt_tokens=half, answer_tokens=half, updates=(16,))


def study_of_cap(cap: Cap, *, name: str, base: Path, data: Path) -> dict[str, Any]:
    """Return a study file in which everything that concerns memory has its default."""
    return {
        "name": name,
        "metric": "loss",
        "trials": cap.trials,
        "space": {
            "learning_rate": [1e-4, 3e-4],
            "batch_size": [4, 8],
            "rank": list(cap.ranks),
            "epochs": [1],
        },
        "model": {"base": str(base.absolute())},
        "data": {
            "train": str(data.absolute() / "train.jsonl"),
            "eval": str(data.absolute() / "eval.jsonl"),
            "format": "completion",
            "max_length": cap.length,
            "cleaning": {"near_duplicate_threshold": None},
        },
        "evaluation": {
            "evaluations": 2,
            "dev_examples": 8,
            "confirm_examples": 0,
            "max_new_tokens": 16,
            "metrics": ["exact_match"],
        },
        "sampler": cap.sampler,
        "pruner": "none",
        "tracking": {"wandb": {"mode": "off"}},
    }
