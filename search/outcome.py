"""What the terminal says when a run ends: the table, where things lie, and what to do next."""

import shlex
import sys

from rich.console import Console

from loratory.reports.comparison import compare
from loratory.reports.table import ranking_table
from loratory.search.study_run import StudyResult


def print_outcome(console: Console, result: StudyResult) -> None:
    """Print how a study stands after a run."""
    if result.interrupted:
        again = shlex.join(["loratory", *sys.argv[1:]])
        console.print(f"stopped; go on with: {again}", highlight=False, soft_wrap=True)
    elif result.report is not None:
        console.print(ranking_table(compare(result.folder)))
    for name, path in (("report", result.report), ("best adapter", result.adapter)):
        if path is not None:
            console.print(f"{name}: {path}", highlight=False, markup=False, soft_wrap=True)
    for note in result.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
