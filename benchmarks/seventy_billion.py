"""A 70B base (Llama 2's sizes) in one card of 80 GiB: two trials of rank 16 at length 1,024.

    python benchmarks/seventy_billion.py                                # a GPU of 80 GiB, about two minutes
    python benchmarks/seventy_billion.py --results seventy.jsonl --free-gib 78     # on a larger one
    python benchmarks/seventy_billion.py --device cpu --shape tiny --length 64     # tries the path alone

The base is made as nf4 layer by layer, never in bf16 or in a file. The arrangement is the one that the worker
chooses. Training is compared with the rate of the base's matrix products on the same device, in the same
process, before.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from memory_cells.capped_study import hogged
from memory_cells.children import Child
from packing_cells.results import append_line

from loratory.objectives.qlora.memory.device import device_name

_GIB = 2**30
_TRIALS, _RANK = 2, 16


def main() -> int:
    """Measure, and print."""
    arguments = _parser().parse_args()
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    cap = hogged(arguments.free_gib, device) if arguments.free_gib else contextlib.nullcontext()
    with cap:
        ceiling, measured = _measure(arguments.shape, device, length=arguments.length)
    line = {"device": device_name(device), "shape": arguments.shape, "length": arguments.length}
    line |= {"trials": _TRIALS, "rank": _RANK, "ceiling": ceiling, "measured": measured}
    print(json.dumps(line, indent=1))
    if arguments.results is not None:
        append_line(arguments.results, line)
    if measured["error"] is not None:
        return 1
    rate, most = measured["tokens_per_second"], ceiling["tokens_per_second"]
    print(
        f"{arguments.shape}: {rate:,.0f} tokens/s, {rate / most:.0%} of its matmul ceiling ({most:,.0f}); "
        f"{measured['reserved_peak_bytes'] / _GIB:.1f} GiB reserved at most; base and engine in "
        f"{measured['build_seconds']:.0f} s; {measured['arrangement']}"
    )
    return 0


def _measure(shape: str, device: torch.device, *, length: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the ceiling, and the rate of training."""
    child = Child("memory_cells.engine_timing", [shape, str(device), str(length)])
    request = {"name": "default", "model": {}, "packing": {}, "trials": _TRIALS, "rank": _RANK}
    answers = [child.answer(), child.ask({"ceiling": True}), child.ask(request)]
    status = child.close()
    _, ceiling, measured = answers
    if ceiling is None or measured is None:
        raise SystemExit(f"the process that measures must answer, ended with {status}")
    return ceiling, measured


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    parser.add_argument("--shape", default="70b")
    parser.add_argument("--length", type=int, default=1024, help="tokens of every example")
    parser.add_argument("--free-gib", type=float, help="let another process hold the rest of the device")
    parser.add_argument("--results", type=Path, help="JSONL that is added to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
