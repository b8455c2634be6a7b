"""`loratory status`."""

import typer

from loratory.search.commands.options import AsJson, FolderArgument


def status(folder: FolderArgument, as_json: AsJson = False) -> None:
    """Tell how far a study is, while it runs or after.

    Also what its scores say so far: which trials may be best, how sure that is, and whether more trials or
    more examples would help.
    """
    from rich.console import Console

    from loratory.objectives.study_folder import StudyFolder
    from loratory.search.status import render_status, status_with_verdict
    from loratory.search.terminal import say_how_to_publish

    found = status_with_verdict(StudyFolder(folder))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        console = Console()
        console.print(render_status(found))
        say_how_to_publish(console, folder, found.publish)
