"""The command line: `loratory quickstart | init | run | status | report | publish`."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loratory.objectives.study_folder import StudyFolder
from loratory.spaces.errors import LoratoryError
from loratory.spaces.study import StudySpec

app = typer.Typer(
    help="Experiment tracking and hyperparameter search for QLoRA fine-tuning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_INTERRUPTED = 130

Overrides = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a key: --set a.b=c")]
Runs = Annotated[Path, typer.Option(help="Where study folders lie.")]
Address = Annotated[str | None, typer.Option(help="A running Ray cluster, such as auto or HOST:6379.")]
Debug = Annotated[bool, typer.Option(help="Show a traceback on errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="A study folder: runs/NAME.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("loratory"))
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
]


@app.callback()
def _options(debug: Debug = False, _version: Version = False) -> None:
    global _debug
    _debug = debug


_debug = False


@app.command()
def quickstart(runs: Runs = Path("runs"), overrides: Overrides = []) -> None:  # noqa: B006 (typer copies it)
    """Run a real study on this machine: a small model, real text, about five minutes on two cores."""
    from loratory.search.quickstart import quickstart_study

    _run(quickstart_study(overrides), runs=runs, address=None, local=False)


@app.command()
def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml")) -> None:
    """Write a commented study file to start from, and its JSON Schema for editors."""
    from loratory.spaces.starter import write_starter

    for written in write_starter(path):
        typer.echo(f"wrote {written}")
    typer.echo(f"edit it, then: loratory run {path}")


@app.command()
def run(
    study_file: Annotated[Path, typer.Argument(help="Study file, .yaml or .py.")],
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    runs: Runs = Path("runs"),
    address: Address = None,
    local: Annotated[bool, typer.Option(help="One worker in this process, without Ray.")] = False,
) -> None:
    """Run a study, or go on with it: the same command resumes."""
    from loratory.spaces.loading import load_study

    _run(load_study(study_file, overrides), runs=runs, address=address, local=local)


@app.command()
def status(folder: FolderArgument, as_json: AsJson = False) -> None:
    """Tell how far a study is, while it runs or after."""
    from loratory.search.status import render_status, study_status

    found = study_status(StudyFolder(folder))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        Console().print(render_status(found))


@app.command()
def report(folder: FolderArgument, as_json: AsJson = False) -> None:
    """Make the comparison report again from the study folder alone."""
    from loratory.reports.writing import write_report

    study = StudyFolder(folder)
    study.read_manifest()
    html = write_report(study)
    typer.echo((study.report / "report.json").read_text("utf-8") if as_json else f"report: {html}")


@app.command()
def publish(
    folder: FolderArgument,
    repo: Annotated[str, typer.Option(help="Hub repository: me/name.")],
    trial: Annotated[int | None, typer.Option(help="Trial number; the best by default.")] = None,
    base_id: Annotated[
        str | None, typer.Option(help="The base's Hub id, where the study names none.")
    ] = None,
    push: Annotated[bool, typer.Option(help="Upload what is staged, in one commit.")] = False,
    verify: Annotated[bool, typer.Option(help="Score the adapter again and compare with its card.")] = False,
) -> None:
    """Stage the best adapter for the Hugging Face Hub; upload it with --push."""
    from loratory.search.publication import publish_adapter

    publish_adapter(
        StudyFolder(folder), Console(), repo=repo, trial=trial, base_id=base_id, upload=push, verify=verify
    )


def _run(study: StudySpec, *, runs: Path, address: str | None, local: bool) -> None:
    from loratory.search.outcome import print_outcome
    from loratory.search.study_run import run_study

    console = Console()
    result = run_study(study, runs=runs, address=address, local=local, console=console)
    print_outcome(console, result)
    if result.interrupted:
        raise typer.Exit(_INTERRUPTED)


def main() -> None:
    """Run the command line; the exit status is 0, 2 for bad input, 130 interrupted, 1 for anything else."""
    try:
        app()
    except LoratoryError as error:
        if _debug:
            raise
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)
    except Exception as error:
        if _debug:
            raise
        print(f"{type(error).__name__}: {error} (loratory --debug shows the traceback)", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
