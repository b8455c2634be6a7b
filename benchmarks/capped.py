"""Studies with everything default in the memory of cards that people have, on a larger card.

    python benchmarks/capped.py --results capped.jsonl --budget-seconds 560    # every cap, in some calls
    python benchmarks/capped.py --results capped.jsonl 7b-24 7b-12             # some
    python benchmarks/capped.py --results timed.jsonl --engine --budget-seconds 560
    python benchmarks/capped.py --results grabs.jsonl --grab                   # six studies of 1B
    python benchmarks/capped.py --results grabs.jsonl --grab --moments load capture   # two of the moments
    python benchmarks/capped.py --results infeasible.jsonl --infeasible        # 24 trials of 1B in 4 GiB
    python benchmarks/capped.py --table capped.jsonl timed.jsonl grabs.jsonl   # anywhere
    python benchmarks/capped.py --device cpu tiny-1 --results tiny.jsonl       # tries the path alone

A second process holds all but so many GiB of the device. Each cap runs once through `loratory run`: four
trials at length 1,024 (512 in 8 GiB), and nothing said of memory. `--engine` times training in one process
under four of the caps, with the default and with five settings made by hand. `--grab` lets another process
take nearly all free memory at five moments of a study, and compares its trials with an undisturbed run's,
which is made first, and again where its folder is gone; `--moments` names some of the five.
`--infeasible` searches three ranks of which the largest fits no worker. The same command goes on where it
ended. Bases are random and written to --folder, one shape at a time: 13B takes 26 GB of disk.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from memory_cells.capped_study import CappedStudies, hogged
from memory_cells.capped_table import as_markdown, grab_line, infeasible_line, study_line, timing_line
from memory_cells.caps import CAPS, DEFAULT, INFEASIBLE, TIMED, TRIALS, Cap
from memory_cells.children import Child
from memory_cells.grab_worker import MOMENTS
from memory_cells.grabs import GRAB_CAP, run_grabs
from packing_cells.results import append_line, read_lines

from loratory.objectives.qlora.memory.device import device_name

_EXPECTED_SECONDS = 120.0  # of a cap, before one was run


def main() -> int:
    """Run what is missing, or print what was measured."""
    arguments = _parser().parse_args()
    if arguments.table:
        print(as_markdown([line for path in arguments.table for line in read_lines(path)]))
        return 0
    bench = Bench(arguments)
    if arguments.engine:
        bench.run_all([cap for cap in bench.caps if cap.name in TIMED], "engine", bench.engine)
    elif arguments.infeasible:
        bench.run_all([INFEASIBLE], "infeasible", bench.infeasible)
    elif arguments.grab:
        bench.grab_all(bench.caps if arguments.caps else [GRAB_CAP], arguments.moments)
    else:
        bench.run_all(bench.caps, "study", bench.study)
    return 0


class Bench:
    """The caps that are wanted, and the file of those that are done.

    Attributes:
        caps: those that are wanted.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Read what was measured before.

        Args:
            arguments: of the command line.
        """
        self._device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._path, self._end = arguments.results, time.monotonic() + arguments.budget_seconds
        named = arguments.caps or [cap.name for cap in CAPS if cap.shape != "tiny"]
        self.caps = [cap for cap in CAPS if cap.name in named]
        if unknown := set(named) - {cap.name for cap in CAPS}:
            known = ", ".join(cap.name for cap in CAPS)
            raise SystemExit(f"caps must be among {known}, got {', '.join(sorted(unknown))}")
        arguments.folder.mkdir(parents=True, exist_ok=True)
        self._studies = CappedStudies(
            arguments.folder,
            device=self._device,
            local=arguments.local,
            seconds=arguments.study_seconds,
        )
        self._longest = _EXPECTED_SECONDS

    def run_all(
        self, caps: Iterable[Cap], kind: str, work: Callable[[Cap], Iterable[dict[str, Any]]]
    ) -> None:
        """Run the caps that have no line of this kind yet, while the budget lasts."""
        done = {line["cap"] for line in self._lines(kind)}
        for cap in caps:
            if cap.name in done:
                continue
            if time.monotonic() + self._longest > self._end:
                say("the budget is used up; the same command goes on")
                return
            began = time.monotonic()
            for line in work(cap):
                append_line(self._path, {"kind": kind, "device": device_name(self._device), **line})
            self._longest = max(self._longest, time.monotonic() - began)

    def study(self, cap: Cap) -> Iterable[dict[str, Any]]:
        """Run the study of a cap."""
        line = self._studies.run(cap)
        say("\n".join([*line["output"], study_line(line)]))
        return [line]

    def infeasible(self, cap: Cap) -> Iterable[dict[str, Any]]:
        """Run a study of which a third of the space fits no worker."""
        line = self._studies.run(cap)
        say("\n".join([*line["output"], study_line(line), infeasible_line(line)]))
        return [line]

    def grab_all(self, caps: Iterable[Cap], moments: Sequence[str]) -> None:
        """Run the moments that have no line yet, and the undisturbed study that they are compared with.

        Args:
            caps: those that are wanted.
            moments: those of `MOMENTS` that are wanted.
        """
        for cap in caps:
            before = [line for line in self._lines("grab") if line["cap"] == cap.name]
            if set(moments) <= {line["moment"] for line in before}:
                continue
            grabs = run_grabs(self._studies, cap, self._device, moments=moments, before=before)
            for line in self._within_budget(grabs):
                say("\n".join([*line["output"], study_line(line), grab_line(line)]))
                append_line(self._path, {"kind": "grab", "device": device_name(self._device), **line})

    def _within_budget(self, lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield lines, each of which a study makes, while the next one would end within the budget."""
        while time.monotonic() + self._longest <= self._end:
            began = time.monotonic()
            line = next(lines, None)
            if line is None:
                return
            self._longest = max(self._longest, time.monotonic() - began)
            yield line
        say("the budget is used up; the same command goes on")

    def _lines(self, kind: str) -> list[dict[str, Any]]:
        """Return what was measured before, of a kind."""
        lines = list(read_lines(self._path)) if self._path.exists() else []
        return [line for line in lines if line["kind"] == kind]

    def engine(self, cap: Cap) -> list[dict[str, Any]]:
        """Time training under a cap with the default, and with what was made by hand."""
        found = []
        with hogged(cap.free_gib, self._device):
            child = Child("memory_cells.engine_timing", [cap.shape, str(self._device), str(cap.length)])
            child.answer()
            for settings in (DEFAULT, *TIMED[cap.name]):
                request = {**asdict(settings), "trials": TRIALS, "rank": 16}
                measured = child.ask(request)
                if measured is None:
                    raise SystemExit(f"{settings.name}: its process must answer, ended with {child.close()}")
                found.append({"cap": cap.name, "settings": settings.name, **measured})
                say(timing_line(found[-1]))
            child.close()
        return found


def say(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("caps", nargs="*", metavar="CAP", help="SHAPE-GIB; default: all of them")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    parser.add_argument("--engine", action="store_true", help="time training in one process instead")
    parser.add_argument("--grab", action="store_true", help="let a neighbour take memory instead")
    parser.add_argument(
        "--moments",
        nargs="+",
        choices=tuple(MOMENTS),
        default=tuple(MOMENTS),
        help="with --grab; default: all",
    )
    parser.add_argument("--infeasible", action="store_true", help="search ranks that do not fit instead")
    parser.add_argument("--results", type=Path, default=Path("capped.jsonl"), help="JSONL that is added to")
    parser.add_argument("--budget-seconds", type=float, default=1e9, help="begin no cap that may end later")
    parser.add_argument("--study-seconds", type=float, default=400, help="end a study that takes longer")
    parser.add_argument("--local", action="store_true", help="workers in the command's process, without Ray")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/capped"), help="for bases, data and runs")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="print results as Markdown")
    return parser


if __name__ == "__main__":
    sys.exit(main())
