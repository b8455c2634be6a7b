"""Check the procedures of reports/statistics on synthetic studies with known true qualities.

    python benchmarks/simulated_studies.py --results studies.jsonl                  # 500 of each kind
    python benchmarks/simulated_studies.py --results studies.jsonl --seconds 600    # goes on where it ended
    python benchmarks/simulated_studies.py --results studies.jsonl --cells bleu --studies 100
    python benchmarks/simulated_studies.py --results studies.jsonl --cells seeds searches --studies 200
    python benchmarks/simulated_studies.py --table studies.jsonl                    # as Markdown

One core (OMP_NUM_THREADS=1). All kinds get their first batches before any gets its second, so a table can be
made at any time. Each study depends on its kind and number alone, so machines may share the work and their
files be concatenated. docs/statistics.md says what the figures mean.
"""

import argparse
import sys
import time
from pathlib import Path

from packing_cells.results import append_line, read_lines
from statistics_cells.batches import BATCH, run_batch
from statistics_cells.cells import (
    CELLS,
    CONFIRM_CELLS,
    REPLAY_CELLS,
    RIGHT_CELLS,
    RULE_CELLS,
    SEARCH_CELLS,
    AnyCell,
)
from statistics_cells.table import as_markdown


def main() -> int:
    """Run what is missing and print the table."""
    arguments = _parser().parse_args()
    if arguments.table:
        lines = [line for path in arguments.table for line in read_lines(path)]
    else:
        _run(arguments.results, _named(arguments.cells), arguments.studies, arguments.seconds)
        lines = list(read_lines(arguments.results)) if arguments.results.exists() else []
    print(as_markdown(lines))
    return 0


def _run(path: Path, cells: list[AnyCell], studies: int, seconds: float) -> None:
    """Run the batches that the file lacks, while time lasts."""
    end = time.monotonic() + seconds
    done = {(line["cell"], line["first"]) for line in read_lines(path)} if path.exists() else set()
    for first in range(0, studies, BATCH):
        for cell in cells:
            if (cell.name, first) in done:
                continue
            if time.monotonic() > end:
                print("the time is used up; the same command goes on", file=sys.stderr)
                return
            began = time.monotonic()
            append_line(path, run_batch(cell, first))
            took = time.monotonic() - began
            print(f"{cell.name}: studies {first} to {first + BATCH - 1}, {took:.1f} s", file=sys.stderr)


def _named(words: list[str]) -> list[AnyCell]:
    cells = (*CELLS, *RIGHT_CELLS, *RULE_CELLS, *CONFIRM_CELLS, *REPLAY_CELLS, *SEARCH_CELLS)
    found = [cell for cell in cells if not words or any(word in cell.name for word in words)]
    if not found:
        names = "; ".join(cell.name for cell in cells)
        raise SystemExit(f"cells must name a part of one of: {names}; got {', '.join(words)}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("studies.jsonl"), help="JSONL that is added to")
    parser.add_argument("--studies", type=int, default=500, help="per kind, in batches of 25")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no batch later")
    parser.add_argument(
        "--cells", nargs="*", default=[], metavar="WORDS", help="only kinds that are named so"
    )
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="print results as Markdown")
    return parser


if __name__ == "__main__":
    sys.exit(main())
