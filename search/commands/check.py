"""`loratory check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loratory.search.commands.options import Overrides
from loratory.search.quick_imports import quick_imports

if TYPE_CHECKING:
    from loratory.objectives.records import Check


def check(
    study_file: Annotated[Path, typer.Argument(help="Study file, .yaml or .py.")],
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
) -> None:
    """Check a study, and show what the model will read.

    Settings, base and data are checked; no weights are loaded.
    """
    from rich.console import Console

    from loratory.objectives.objective import Beginning, objective_kind
    from loratory.search.advice import advice
    from loratory.search.terminal import say
    from loratory.spaces.command_line import command
    from loratory.spaces.errors import InputError
    from loratory.spaces.loading import load_study

    if study_file.is_dir():
        raise InputError(f"{study_file}: must be a study file, is a folder; check the file that began it")
    study = load_study(study_file, overrides)
    kind = objective_kind(study.objective)
    kind.check(study)
    with quick_imports():
        kind.import_for_prepare()
    prepared = kind.prepare(study, Beginning.now())
    console = Console()
    say(console, *prepared.summary, *advice(study), *map(_line, prepared.checks))
    # Rows are shown as they are: a break would look like one of the row's.
    for line in prepared.shown:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    changed = (text for override in overrides for text in ("--set", override))
    following = command("run", study_file, *changed)
    console.print(f"next: {following}", highlight=False, markup=False, soft_wrap=True)


def _line(check: "Check") -> str:
    result = {True: "passed", False: "failed", None: "not checked: needs weights"}[check.passed]
    detail = f" ({check.detail})" if check.detail else ""
    return f"check {check.name}: {result}{detail}"
