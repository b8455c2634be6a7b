"""`loratory report`."""

import typer

from loratory.search.commands.options import AsJson, FolderArgument


def report(folder: FolderArgument, as_json: AsJson = False) -> None:
    """Make the report again, from the study folder alone."""
    from loratory.objectives.study_folder import StudyFolder
    from loratory.reports.writing import write_report

    study = StudyFolder(folder)
    html = write_report(study)
    typer.echo(study.report_json.read_text("utf-8") if as_json else f"report: {html}")
