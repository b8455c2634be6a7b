"""`loratory status`."""

import typer

from loratory.search.commands.options import AsJson, FolderArgument


def status(folder: FolderArgument, as_json: AsJson = False) -> None:
    """Tell how far a study is, and what its scores say, while it runs or after."""
    from rich.console import Console

    from loratory.objectives.study_folder import StudyFolder
    from loratory.search.status import render_status, status_with_verdict

    found = status_with_verdict(StudyFolder(folder))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        Console().print(render_status(found))
