"""`loratory plan`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from loratory.search.commands.options import AsJson, Overrides, Runs
from loratory.search.quick_imports import quick_imports


def plan(
    study_file: Annotated[Path, typer.Argument(help="Study file, .yaml or .py.")],
    gpu: Annotated[str | None, typer.Option(help="A GPU by name, such as 'RTX 4090'.")] = None,
    memory: Annotated[str | None, typer.Option(help="Its memory, such as 24GiB.")] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="Number of GPUs; default: resources.workers, else 1.")
    ] = None,
    as_json: AsJson = False,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    runs: Runs = Path("runs"),
) -> None:
    """Predict memory, hours and disk of a study, without a GPU."""
    from loratory.spaces.errors import InputError
    from loratory.spaces.loading import load_study
    from loratory.spaces.study import ObjectiveName

    if study_file.is_dir():
        raise InputError(f"{study_file}: must be a study file, is a folder; plan the file that began it")
    study = load_study(study_file, overrides)
    if study.objective is not ObjectiveName.QLORA:
        nothing = f"{study.name}: objective {study.objective} uses no GPU: there is nothing to plan"
        typer.echo(json.dumps({"study": study.name, "notes": [nothing]}) if as_json else nothing)
        return
    with quick_imports():  # a plan itself makes little garbage
        from loratory.objectives.qlora.memory.planning import plan_study
        from loratory.search.plan_view import plan_lines, with_disk_note
        from loratory.search.samplers import trial_limit

        study = study.model_copy(update={"trials": trial_limit(study)})  # a grid may have fewer points
        found = with_disk_note(plan_study(study, gpu=gpu, memory=memory, gpus=gpus, runs=runs), runs)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
        return
    for line in plan_lines(found):
        typer.echo(line)
