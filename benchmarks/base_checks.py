"""Time of what a base is asked before the first trial, on a random base.

    python benchmarks/base_checks.py [--shape 1b] [--times 3]

Prints seconds of the logits of the untouched base (with the check that it is causal) and of the choice of
ways (packed pass, training pass, decoding), several times: the first has the compilation of kernels, which a
study needs anyway.
"""

import argparse
import time

import torch
from packing_cells.device_memory import synchronize
from packing_cells.models import build_model, compute_dtype, linear_layers
from packing_cells.shapes import SHAPES

from loratory.objectives.packing.fused import fuse
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.qlora.base.formats.nf4 import NF4
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.base.probe import BaseProbe


def random_base(name: str, device: torch.device) -> Base:
    """Return a random base in nf4."""
    return Base(
        model=build_model(SHAPES[name], device=device),
        format=NF4,
        tokenizer=None,
        device=device,
        compute_dtype=compute_dtype(device),
        end_ids=(0,),
        padding_id=1,
    )


def time_checks(name: str, device: torch.device) -> tuple[float, float]:
    """Return the seconds of both parts, and print what was found."""
    base = random_base(name, device)
    synchronize(device)
    began = time.perf_counter()
    probe = BaseProbe(base, name=name, longest=1024, decodes=True)
    synchronize(device)
    asked = time.perf_counter()
    fuse(base.model)
    model = PackedModel(
        base.model,
        linear_layers(base.model),
        device=device,
        compute_dtype=base.compute_dtype,
        frozen_weight=NF4.frozen_weight,
    )
    replaced = time.perf_counter()
    ways = probe.choose(model)
    synchronize(device)
    chosen = time.perf_counter()
    for check in ways.checks:
        print(f"  {check.name}: {check.passed}, {check.detail}")
    return asked - began, chosen - replaced


def main() -> None:
    """Time the checks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="1b")
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(torch.cuda.get_device_name() if device.type == "cuda" else "CPU", torch.__version__, flush=True)
    for _ in range(given.times):
        untouched, chosen = time_checks(given.shape, device)
        print(f"{given.shape}: untouched base {untouched:.2f} s, ways {chosen:.2f} s", flush=True)


if __name__ == "__main__":
    main()
