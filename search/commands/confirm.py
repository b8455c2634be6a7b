"""`loratory confirm`: the best settings, trained again on new seeds."""

from pathlib import Path
from typing import Annotated

import typer

from loratory.search.commands.options import FolderArgument
from loratory.search.commands.run import Address, Local, print_end

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

    The search must be over. What is trained already is not trained again: the same command resumes.
    """
    from rich.console import Console

    from loratory.objectives.study_folder import StudyFolder
    from loratory.search.study_run import confirm_study

    console = Console()
    result = confirm_study(
        StudyFolder(Path(folder)), top=top, seeds=seeds, address=address, local=local, console=console
    )
    print_end(console, result)
