"""Peak device memory of a worker against its prediction, at 48 cells of four shapes.

    python benchmarks/memory_model.py --results memory.jsonl --budget-seconds 540    # a GPU of 80 GiB
    python benchmarks/memory_model.py --table memory.jsonl --plot memory.svg         # anywhere
    python benchmarks/memory_model.py --table memory.jsonl --half fitted
    python benchmarks/memory_model.py --device cpu --shape tiny --results tiny.jsonl # tries the path alone

The first command goes on where it ended, about nine minutes in all. `--half fitted` shows the half of the
cells that may be looked at while the model is fitted. An SVG needs Chromium, a plot as HTML nothing.

Each cell builds the worker's engine in an explicit arrangement over a random nf4 base, makes two updates of
every slot in passes of the largest size, copies a slot, and computes losses and answers with all rows in use.
Cells of a shape share one process. The peak is what PyTorch had reserved at most, plus what the process
holds beside it (context, kernels, graphs); a sampling of the whole device by another process is its check.
No other process may use the device meanwhile.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from memory_cells.cells import CELLS, HALVES, TINY_CELLS, MemoryCell
from memory_cells.children import Child
from memory_cells.watch import DeviceWatch
from packing_cells.results import append_line, read_lines

from loratory.objectives.qlora.base.formats.nf4 import NF4
from loratory.objectives.qlora.memory.device import device_name, versions

_SLACK = 1.5  # of the longest cell so far must be left to begin another


def main() -> int:
    """Measure what is missing, or print what was measured."""
    arguments = _parser().parse_args()
    if arguments.table is not None:
        return _show(arguments)
    bench = Bench(arguments)
    for shape, cells in bench.pending().items():
        if not bench.measure(shape, cells):
            say("the budget is used up; the same command goes on")
            break
    say(f"{sum(map(len, bench.pending().values()))} cells are left")
    return 0


class Bench:
    """The cells that are wanted, and the file of those that are done."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Read what was measured before.

        Args:
            arguments: of the command line.
        """
        self._device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._path, self._end = arguments.results, time.monotonic() + arguments.budget_seconds
        shapes = arguments.shape or ["1b", "7b", "8b", "13b"]
        self._cells = [cell for cell in (*CELLS, *TINY_CELLS) if cell.shape in shapes]
        if arguments.cell:
            self._cells = [cell for cell in self._cells if any(part in cell.name for part in arguments.cell)]
        self._watch = DeviceWatch(self._device)
        self._machine = _machine(self._device)
        lines = read_lines(self._path) if self._path.exists() else ()
        self._done = {line["name"] for line in lines}
        self._longest = 0.0

    def pending(self) -> dict[str, list[MemoryCell]]:
        """Return the cells that are not measured yet, by shape."""
        shapes: dict[str, list[MemoryCell]] = {}
        for cell in self._cells:
            if cell.name not in self._done:
                shapes.setdefault(cell.shape, []).append(cell)
        return shapes

    def measure(self, shape: str, cells: list[MemoryCell]) -> bool:
        """Measure cells of one shape in one process; return False where the budget ends before the last."""
        if time.monotonic() + _SLACK * self._longest > self._end:
            return False
        child = Child("memory_cells.measuring", [shape, str(self._device), str(self._watch.before)])
        began = time.monotonic()
        if child.answer() is None:
            raise SystemExit(f"{shape}: its process must build the base, ended with {child.close()}")
        say(f"{shape}: base built, {time.monotonic() - began:.0f} s")
        try:
            return all(self._measure(child, cell) for cell in cells)
        finally:
            child.close()

    def _measure(self, child: Child, cell: MemoryCell) -> bool:
        if time.monotonic() + _SLACK * self._longest > self._end:
            return False
        began = time.monotonic()
        with self._watch.sampling():
            measured = child.ask(cell.as_data())
        seconds = time.monotonic() - began
        if measured is None:
            raise SystemExit(f"{cell.name}: its process must measure it, ended with {child.close()}")
        self._longest = max(self._longest, seconds)
        line = {"name": cell.name, "cell": cell.as_data(), "seconds": seconds, "machine": self._machine}
        append_line(self._path, line | measured | {"sampled_peak_bytes": self._watch.peak})
        self._done.add(cell.name)
        peak, sampled = (number / 2**30 for number in (measured["peak_bytes"], self._watch.peak))
        say(f"{cell.name}: {peak:.2f} GiB (sampled {sampled:.2f}), {seconds:.1f} s {measured['error'] or ''}")
        return True


def _machine(device: torch.device) -> dict[str, Any]:
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    return {"device": device_name(device), "memory_bytes": memory, **versions(NF4.packages)}


def _show(arguments: argparse.Namespace) -> int:
    from memory_cells.table import as_markdown, write_plot

    lines = list(read_lines(arguments.table))
    print(as_markdown(lines, seed=arguments.seed, half=arguments.half))
    if arguments.plot is not None:
        write_plot(lines, arguments.plot, seed=arguments.seed)
    return 0


def say(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    parser.add_argument("--shape", action="append", help="cells of this shape alone; may come again")
    parser.add_argument("--cell", action="append", help="cells with this in their name; may come again")
    parser.add_argument("--results", type=Path, default=Path("memory.jsonl"), help="JSONL that is added to")
    parser.add_argument(
        "--budget-seconds", type=float, default=1e9, help="begin no cell that might end later"
    )
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="print what a results file holds, as Markdown"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="with --table: .svg or .html")
    parser.add_argument("--seed", type=int, default=15, help="chooses the half of the cells that is held out")
    parser.add_argument("--half", choices=HALVES, help="with --table: only one half of the cells")
    return parser


if __name__ == "__main__":
    sys.exit(main())
