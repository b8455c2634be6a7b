"""`loratory run`, and the end of a run as the terminal shows it."""

import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loratory.search.commands.options import Overrides, Runs
from loratory.search.interruption import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from loratory.objectives.records import TrialRecord
    from loratory.search.session import StudyResult
    from loratory.spaces.study import StudySpec

_REMEDIES = {
    "FAIL": "mend the cause, then raise trials or give the study another name",
    "INFEASIBLE": "search smaller ranks and batches, or take a smaller base",
    "PRUNED": "search lower learning rates, or set pruner: none, and raise trials",
    "RUNNING": "raise time_limit_minutes",
}
"""State in which trials are without a score, to what may help."""

Local = Annotated[bool, typer.Option(help="One worker in this process, without Ray.")]
Address = Annotated[str | None, typer.Option(help="A running Ray cluster, such as auto or HOST:6379.")]


def run(
    study_file: Annotated[Path, typer.Argument(help="Study file, .yaml or .py.")],
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    runs: Runs = Path("runs"),
    address: Address = None,
    local: Local = False,
) -> None:
    """Run a study, or go on with it: the same command resumes."""
    from loratory.spaces.loading import load_study

    run_to_end(load_study(study_file, overrides), runs=runs, address=address, local=local)


def run_to_end(study: "StudySpec", *, runs: Path, address: str | None = None, local: bool = False) -> None:
    """Run a study with progress in the terminal, and print its outcome.

    Args:
        study: what to run.
        runs: where study folders lie.
        address: a running Ray cluster; None starts Ray on this machine.
        local: one worker in this process, without Ray.

    Raises:
        Exit: the run was interrupted, with exit status 130, or is over without a scored trial, with 1.
    """
    from rich.console import Console

    from loratory.search.study_run import run_study
    from loratory.search.terminal import say

    console = Console()
    result = run_study(study, runs=runs, address=address, local=local, console=console)
    print_end(console, result)
    if result.best is None:
        say(
            Console(stderr=True),
            f"{study.name}: no trial was scored: {_why_none(result)}",
        )
        raise typer.Exit(1)


def print_end(console: "Console", result: "StudyResult") -> None:
    """Print the outcome of a run.

    Raises:
        Exit: it was interrupted.
    """
    _print_outcome(console, result)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)


def _why_none(result: "StudyResult") -> str:
    """Return how many trials ended in which way, why the last did, and what to do."""
    records = result.folder.read_records()
    if not records:
        return "none began; raise trials or time_limit_minutes"
    states = {record.state for record in records}
    remedies = [remedy for state, remedy in _REMEDIES.items() if state in states]
    return f"{ends(records)}; {'; '.join(remedies)}"


def ends(records: "Sequence[TrialRecord]") -> str:
    """Return how many trials ended in which way, and why the last did."""
    counts = Counter(record.state for record in records)
    reason = next((record.reason for record in reversed(records) if record.reason), "")
    last = f", the last by: {' '.join(reason.split())[:300]}" if reason else ""
    return ", ".join(f"{number} {state}" for state, number in counts.items()) + last


def _print_outcome(console: "Console", result: "StudyResult") -> None:
    from loratory.reports.table import ranking_table
    from loratory.search.terminal import say_how_to_publish

    if result.interrupted:
        again = shlex.join(["loratory", *sys.argv[1:]])
        console.print(f"stopped; go on with: {again}", highlight=False, soft_wrap=True)
    elif result.comparison is not None:
        console.print(ranking_table(result.comparison))
    for name, path in (("report", result.report), ("published adapter", result.adapter)):
        if path is not None:
            console.print(f"{name}: {path}", highlight=False, markup=False, soft_wrap=True)
    if result.comparison is not None and not result.interrupted:
        say_how_to_publish(console, result.folder.path, result.comparison.publish)
    for note in result.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
