"""A whole study of 32 trials: through `loratory run`, and with Trainer + PEFT one trial after another.

    python benchmarks/packing_study.py --results study.jsonl --json
    python benchmarks/packing_study.py --results study.jsonl --side trainer --reference-trials 6
    python benchmarks/packing_study.py --device cpu --shape tiny --trials 4

Both sides run the same fixed list of trials on the same examples: no pruning, no early stopping, and no
answer that ends before its last token. Of the Trainer's side some trials are measured and the rest is scaled.
The same command goes on where it ended: a side or a trial that stands in the results file is not measured
again. Weights and words are random; nothing is downloaded.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from packing_cells.device_memory import cores
from packing_cells.results import append_line, read_lines
from packing_cells.shapes import SHAPES
from packing_cells.study_files import write_base, write_data
from packing_cells.study_plan import plan_of, reference_trials, size_of, study_file, trial_list
from packing_cells.study_table import as_data, as_markdown

from loratory.objectives.qlora.base.formats.nf4 import NF4
from loratory.objectives.qlora.memory.device import device_name, release_memory, versions


def main() -> int:
    """Measure what is missing, then print."""
    arguments = _parser().parse_args()
    bench = Bench(arguments)
    if arguments.side in ("both", "ours"):
        bench.measure_ours()
    if arguments.side in ("both", "trainer"):
        bench.measure_trainer(arguments.reference_trials)
    data = as_data(bench.lines, bench.trials, bench.size)
    print(as_markdown(data, bench.plan), file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print(json.dumps(data, indent=2))
    return 0


class Bench:
    """The plan, the files, and the measurements of both sides so far.

    Attributes:
        trials: the list.
        size: of the study.
        plan: what both sides have in common.
        lines: of the results file, for this plan and device.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Make or find model and data.

        Args:
            arguments: of the command line.
        """
        self._device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        shape = SHAPES[arguments.shape or ("1b" if self._device.type == "cuda" else "tiny")]
        self._slots, self._workers = arguments.slots, arguments.workers
        self._results, self._folder = arguments.results, arguments.folder
        self.size = size_of(shape.name)
        self.trials = trial_list(arguments.trials, self.size)
        self.plan = plan_of(shape.name, self.trials, self.size)
        self._machine = {"device": device_name(self._device), "cores": cores(), **versions(NF4.packages)}
        self.lines = self._read()
        self._base, self._data = self._folder / f"base-{shape.name}", self._folder / f"data-{shape.name}"
        began = time.perf_counter()
        write_base(self._base, shape, device=self._device)
        write_data(self._data, self.size, vocabulary=shape.vocabulary)
        release_memory(self._device)
        say(f"model and data in {self._folder} ({time.perf_counter() - began:.0f} s)")

    def measure_ours(self) -> None:
        """Run the study through `loratory run`, unless it was measured before."""
        chosen = {"side": "ours", "slots": self._slots, "workers": self._workers}
        if any(chosen.items() <= line.items() for line in self.lines):
            return
        from packing_cells.study_ours import prepare, run_ours

        path = self._study_file()
        measured = run_ours(*prepare(path), path, self.trials, self._device)
        self._add({**chosen, "measured": measured})
        say(f"loratory: makespan {measured['makespan_seconds']:.1f} s")

    def measure_trainer(self, count: int) -> None:
        """Run `count` trials with the Trainer, except those that were measured before."""
        done = {line["number"] for line in self.lines if line["side"] == "trainer"}
        wanted = [number for number in reference_trials(self.trials, count) if number not in done]
        if not wanted:
            return
        from packing_cells.study_ours import prepare
        from packing_cells.study_trainer import TrainerStudy

        _, prepared = prepare(self._study_file())
        data = prepared.payload.data
        study = TrainerStudy(self._base, data, size=self.size, device=self._device)
        for number in wanted:
            trial = self.trials[number]
            measured = {"trial": trial, **study.run(trial, seed=number), "load_seconds": study.load_seconds}
            self._add({"side": "trainer", "number": number, "measured": measured})
            parts = ", ".join(f"{key} {value:.1f}" for key, value in measured.items() if "seconds" in key)
            say(f"Trainer, trial {number}: {parts}")

    def _study_file(self) -> Path:
        """Write a study file with a new name: a study of an old name would be resumed."""
        from packing_cells.study_ours import write_study

        name = f"packing-{time.time_ns() // 1_000_000}"
        path = self._folder / f"{name}.yaml"
        content = study_file(
            name,
            trials=self.trials,
            size=self.size,
            base=self._base,
            data=self._data,
            storage=self._folder / f"{name}.db",
            slots=self._slots,
            workers=self._workers,
        )
        write_study(path, content)
        return path

    def _read(self) -> list[dict[str, Any]]:
        """Load the lines of this plan and device."""
        if self._results is None or not self._results.exists():
            return []
        device = self._machine["device"]
        lines = read_lines(self._results)
        return [line for line in lines if line["plan"] == self.plan and line["machine"]["device"] == device]

    def _add(self, line: dict[str, Any]) -> None:
        line |= {"plan": self.plan, "machine": self._machine}
        self.lines.append(line)
        if self._results is not None:
            append_line(self._results, line)


def say(text: str) -> None:
    """Print progress to standard error; standard output is for the result."""
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    parser.add_argument("--shape", choices=tuple(SHAPES), help="default: 1b on a GPU, else tiny")
    parser.add_argument("--side", choices=("both", "ours", "trainer"), default="both")
    parser.add_argument("--trials", type=int, default=32, help="number of trials, from the start of the list")
    parser.add_argument("--reference-trials", type=int, default=4, help="trials measured with the Trainer")
    parser.add_argument(
        "--slots", type=int, help="trials that train at once on a worker; default: what loratory chooses"
    )
    parser.add_argument("--workers", type=int, default=1, help="workers of loratory, each with its own GPU")
    parser.add_argument(
        "--folder", type=Path, default=Path("/tmp/packing_study"), help="for model, data, runs"
    )
    parser.add_argument("--results", type=Path, help="JSONL where measurements are added and looked up")
    parser.add_argument("--json", action="store_true", help="JSON to standard output, the table to stderr")
    return parser


if __name__ == "__main__":
    sys.exit(main())
