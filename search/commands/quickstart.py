"""`loratory quickstart`."""

from pathlib import Path

from loratory.search.commands.options import Overrides, Runs
from loratory.search.commands.run import run_to_end


def quickstart(runs: Runs = Path("runs"), overrides: Overrides = []) -> None:  # noqa: B006 (typer copies it)
    """Run a real study on this machine, in a few minutes.

    A small model learns to describe functions of the standard library: three to four minutes on two cores.
    """
    from importlib.resources import as_file, files

    from loratory.spaces.loading import load_study

    with as_file(files("loratory.objectives.quickstart") / "study.yaml") as path:
        study = load_study(path, overrides)
    run_to_end(study, runs=runs)
