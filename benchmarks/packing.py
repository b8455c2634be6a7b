"""Training throughput of packed trials against one trial at a time and against processes sharing the device.

    python benchmarks/packing.py --device cpu --shape tiny --json
    python benchmarks/packing.py --results packing.jsonl --budget-seconds 540 [--cells 1b:512,7b:512]
    python benchmarks/packing.py --cells 1b:512,7b:512 --variants ours-8,ours-8-uncached,ours-8-unquantized
    python benchmarks/packing.py --table packing.jsonl [--plot docs/packing.svg]

The first makes the comparison on a CPU, in under three minutes on two otherwise idle cores (on shared
ones OMP_WAIT_POLICY=passive keeps threads from spinning). The second measures cell after cell on a GPU and
stops before its time is up; the same command goes on where it ended. The third compares formats of the base:
nf4 held in bf16 too, nf4 read in each pass, and not quantised. The last measures nothing and prints a table
for each device in some results files; a plot ends in .svg, which needs Chromium, or in .html. Weights are
random; no model is downloaded.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from packing_cells.cells import PROCESSES, Cell, count_of, default_cells
from packing_cells.plot import write_plot
from packing_cells.results import Reading, Results, read_readings
from packing_cells.runner import Plan, Runner
from packing_cells.shapes import SHAPES
from packing_cells.table import as_data, as_markdown


def main() -> int:
    """Measure or read, then print."""
    parser = _parser()
    arguments = parser.parse_args()
    if missing := [str(path) for path in arguments.table or () if not path.is_file()]:
        parser.error(f"--table must name files of readings, there is no {', '.join(missing)}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU that PyTorch sees; use --device cpu --shape tiny")
    try:
        readings, failed = list(read_readings(arguments.table or ())), 0
        if not arguments.table:
            readings, failed = _measure(arguments)
        _print(readings, arguments)
    except ValueError as error:
        parser.error(str(error))
    return 1 if failed else 0


def _measure(arguments: argparse.Namespace) -> tuple[list[Reading], int]:
    """Take readings; return all of the results file, and the number of measurements that failed."""
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    plans = _plans(arguments, on_gpu=device.type == "cuda")
    counts = [count_of(variant, PROCESSES) or 1 for plan in plans for variant in plan.variants]
    results = Results(arguments.results)
    runner = Runner(
        device, results, repeats=arguments.repeats, steps=arguments.steps, pool_size=max(counts, default=1)
    )
    failed = runner.run(plans, budget_seconds=arguments.budget_seconds)
    return results.readings, failed


def _plans(arguments: argparse.Namespace, *, on_gpu: bool) -> list[Plan]:
    if arguments.cells:
        cells = tuple(Cell.parse(text) for text in arguments.cells.split(","))
    else:
        cells = default_cells(arguments.shape or (("1b", "7b", "llama32-1b") if on_gpu else ("tiny",)))
    plans = [Plan(cell, cell.variants(on_gpu=on_gpu)) for cell in cells]
    if not arguments.variants:
        return plans
    wanted = arguments.variants.split(",")
    known = {variant for cell in cells for variant in cell.variants(on_gpu=True)}
    if unknown := set(wanted) - known:
        raise ValueError(
            f"variants must be among {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}"
        )
    return [
        Plan(plan.cell, tuple(name for name in wanted if name in plan.cell.variants(on_gpu=True)))
        for plan in plans
    ]


def _print(readings: list[Reading], arguments: argparse.Namespace) -> None:
    if not readings:
        print("nothing was measured", file=sys.stderr)
        return
    print(as_markdown(readings), file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print(json.dumps(as_data(readings), indent=2))
    if arguments.plot:
        write_plot(readings, arguments.plot)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    parser.add_argument("--shape", action="append", choices=tuple(SHAPES), help="all cells of a model")
    parser.add_argument(
        "--cells", help="SHAPE:LOAD, with commas between; a load is tokens, lognormal, decode"
    )
    parser.add_argument("--variants", help="names as in the table, with commas between")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed optimiser steps; default: by the tokens per step")
    parser.add_argument("--results", type=Path, help="where readings are added and looked up")
    parser.add_argument("--budget-seconds", type=float, default=float("inf"))
    parser.add_argument("--table", type=Path, nargs="+", help="measure nothing, read these files")
    parser.add_argument("--plot", type=Path, help="FILE.svg (needs chromium) or FILE.html")
    parser.add_argument("--json", action="store_true", help="JSON to standard output, the table to stderr")
    return parser


if __name__ == "__main__":
    sys.exit(main())
