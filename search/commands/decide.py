"""`loratory decide`."""

import json
from typing import Annotated

import typer

from loratory.search.commands.options import AsJson, FolderArgument

CANNOT_TELL, WORSE = 3, 4
"""Exit statuses; 0 stands for better, 1 and 2 are those of every command."""

First = Annotated[
    str, typer.Argument(help="A trial by number or key, `base`, `published`, an adapter, or another study.")
]


def decide(
    folder: FolderArgument,
    first: First,
    second: Annotated[str | None, typer.Argument(help="What it is compared with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether one adapter is better than another.

    Exit status: 0 better, 3 cannot tell, 4 worse.
    """
    from pathlib import Path

    from rich.console import Console

    from loratory.objectives.study_folder import StudyFolder
    from loratory.reports import decision
    from loratory.reports.decision_words import decision_lines
    from loratory.reports.statistics.paired import Verdict
    from loratory.search.terminal import say
    from loratory.spaces.command_line import command
    from loratory.spaces.errors import InputError

    study = StudyFolder(folder)
    if second is not None:
        found = decision.decide(study, first, second)
    elif StudyFolder(Path(first)).manifest.is_file():
        found = decision.decide_studies(study, StudyFolder(Path(first)))
    else:
        raise InputError(
            f"decide takes two trials of a study, such as `{command('decide', folder, first, 'base')}`, an "
            f"adapter and a trial, or two study folders, got {first!r} alone"
        )
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        say(Console(), *decision_lines(found))
    status = {Verdict.BETTER: 0, Verdict.CANNOT_TELL: CANNOT_TELL, Verdict.WORSE: WORSE}
    raise typer.Exit(status[found.comparison.verdict])
