"""`loratory report`."""

from pathlib import Path
from typing import Annotated

import typer

from loratory.search.commands.options import AsJson

Folders = Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="A study folder, or several.")]
Output = Annotated[
    Path | None, typer.Option(help="Folder for the report of several studies; comparison-A-B beside A.")
]
_LONGEST_NAME = 100


def report(folders: Folders, as_json: AsJson = False, output: Output = None) -> None:
    """Make the report again, or compare several studies.

    It is made from the study folders alone. Several studies are compared by what they publish; they must have
    the same metric and the same eval.
    """
    from loratory.spaces.errors import InputError

    if len(folders) > 1:
        _compare(folders, as_json=as_json, output=output)
    elif output is not None:
        raise InputError("--output is for several studies; the report of one lies in its study folder")
    else:
        _report(folders[0], as_json=as_json)


def _report(folder: Path, *, as_json: bool) -> None:
    from loratory.objectives.study_folder import StudyFolder
    from loratory.reports.comparison import compare
    from loratory.reports.verdict import left_out_line
    from loratory.reports.visible import visible
    from loratory.reports.writing import write_report

    study = StudyFolder(folder)
    found = compare(study)
    html = write_report(study, found)
    if found.findings and (left_out := left_out_line(found.findings)):
        typer.echo(visible(left_out), err=True)
    typer.echo(study.report_json.read_text("utf-8") if as_json else f"report: {html}")


def _compare(folders: list[Path], *, as_json: bool, output: Path | None) -> None:
    from rich.console import Console

    from loratory.objectives.study_folder import StudyFolder
    from loratory.reports.studies.comparing import compare_studies
    from loratory.reports.studies.text_view import studies_text
    from loratory.reports.studies.writing import studies_json, write_studies_report
    from loratory.search.terminal import say

    found = compare_studies([StudyFolder(folder) for folder in folders])
    named = "-".join(("comparison", *(folder.resolve().name for folder in folders)))[:_LONGEST_NAME]
    html = write_studies_report(found, output or folders[0].resolve().parent / named)
    if as_json:
        typer.echo(studies_json(found))
        return
    console = Console()
    say(console, *studies_text(found).split("\n"), "")
    console.print(f"report: {html}", highlight=False, markup=False, soft_wrap=True)
