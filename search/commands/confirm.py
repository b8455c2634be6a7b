"""`loratory confirm`: the best settings, trained again on new seeds."""

from pathlib import Path
from typing import Annotated

import typer

from loratory.search.commands.options import FolderArgument
from loratory.search.commands.run import Address, Local, ends, print_end

Top = Annotated[int | None, typer.Option(help="Settings; 3 by default.")]
Seeds = Annotated[int | None, typer.Option(help="New seeds of each; 5 by default.")]


def confirm(
    folder: FolderArgument,
    top: Top = None,
    seeds: Seeds = None,
    address: Address = None,
    local: Local = False,
) -> None:
    """Train the best settings again on new seeds.

    The search must be over. What is trained already is not trained again: the same command resumes. Exit
    status 1: no training has a score.
    """
    from rich.console import Console

    from loratory.objectives.study_folder import StudyFolder
    from loratory.reports.ranking import why_unranked
    from loratory.search.study_run import confirm_study
    from loratory.search.terminal import say

    console = Console()
    result = confirm_study(
        StudyFolder(Path(folder)), top=top, seeds=seeds, address=address, local=local, console=console
    )
    print_end(console, result)
    trained = result.folder.read_retrained()
    if all(why_unranked(record) is not None for record in trained):
        line = f"{folder}: no training on a new seed was scored: {ends(trained)}; "
        say(Console(stderr=True), f"{line}mend the cause, then train on more seeds with --seeds")
        raise typer.Exit(1)
