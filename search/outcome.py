"""What the terminal says when a run ends: the table, where things lie, and what to do next."""

import shlex
import sys

from rich.console import Console

from loratory.objectives.study_folder import TEST_WINNER
from loratory.reports.table import ranking_table
from loratory.search.session import StudyResult


def print_outcome(console: Console, result: StudyResult) -> None:
    """Print how a study stands after a run."""
    if result.interrupted:
        again = shlex.join(["loratory", *sys.argv[1:]])
        console.print(f"stopped; go on with: {again}", highlight=False, soft_wrap=True)
    elif result.comparison is not None:
        console.print(ranking_table(result.comparison))
        _print_stale_test(console, result)
    for name, path in (("report", result.report), ("best adapter", result.adapter)):
        if path is not None:
            console.print(f"{name}: {path}", highlight=False, markup=False, soft_wrap=True)
    for note in result.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _print_stale_test(console: Console, result: StudyResult) -> None:
    scored = result.folder.read_score(TEST_WINNER)
    if scored is not None and result.best is not None and scored.number != result.best.number:
        console.print(
            f"note: the test split was scored for trial {scored.number}, then the best; that is done once",
            highlight=False,
        )
