"""Time what a worker asks of its base before the first trial.

    python benchmarks/base_checks.py [SHAPE ...]

The shapes are those of packing.py, in nf4 and random. Without an argument: 1b on a GPU, tiny on a CPU.
"""

import sys
import time

import torch
from packing_cells.device_memory import synchronize
from packing_cells.models import build_model, compute_dtype, linear_layers
from packing_cells.shapes import SHAPES, ModelShape
from packing_cells.workload import fixed, trial_examples

from loratory.objectives.data.prepared import Example, Examples, PreparedData
from loratory.objectives.packing.fused import fuse
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.base.probe import BaseProbe, Ways
from loratory.spaces.model import Quantization
from loratory.spaces.study import StudySpec

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
STUDY = StudySpec.model_validate(
    {
        "name": "checks",
        "model": {"base": "random"},
        "data": {"train": "random.jsonl"},
        "evaluation": {"max_new_tokens": 64},
        "space": {"learning_rate": [1e-4]},
    }
)


def random_data(shape: ModelShape) -> PreparedData:
    """Return splits of rows of 512 tokens."""
    rows: list[Example] = trial_examples(fixed(512), shape, steps=1, seed=0)
    split = Examples.of(rows)
    return PreparedData(train=split, dev=split, select=split, test=Examples.of([]), labels=(), sha256="")


def time_checks(name: str) -> tuple[Ways, list[tuple[str, float]]]:
    """Return the ways that were chosen on a random base, and the seconds of each part."""
    shape = SHAPES[name]
    base = Base(
        model=build_model(shape, device=DEVICE),
        format=format_of(Quantization.NF4),
        tokenizer=None,
        device=DEVICE,
        compute_dtype=compute_dtype(DEVICE),
        end_ids=(2,),
        padding_id=0,
    )
    data, seconds = random_data(shape), []
    synchronize(DEVICE)
    start = time.perf_counter()
    probe = BaseProbe(STUDY, base=base, name=name, data=data)
    synchronize(DEVICE)
    seconds.append(("logits of the base as loaded, causality", time.perf_counter() - start))
    fuse(base.model)
    model = PackedModel(
        base.model,
        linear_layers(base.model),
        device=DEVICE,
        compute_dtype=base.compute_dtype,
        frozen_weight=base.format.frozen_weight,
    )
    start = time.perf_counter()
    ways = probe.choose(model)
    synchronize(DEVICE)
    seconds.append(("packs, a training pass, decoding", time.perf_counter() - start))
    return ways, seconds


def main() -> None:
    """Print a line per part and per check."""
    for name in sys.argv[1:] or (["1b"] if DEVICE.type == "cuda" else ["tiny"]):
        ways, parts = time_checks(name)
        for part, seconds in parts:
            print(f"{name}: {part}: {seconds:.2f} s", flush=True)
        print(f"{name}: all: {sum(seconds for _, seconds in parts):.2f} s", flush=True)
        for check in ways.checks:
            print(f"{name}: check {check.name}: passed {check.passed} ({check.detail})", flush=True)


if __name__ == "__main__":
    main()
