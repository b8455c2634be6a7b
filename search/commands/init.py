"""`loratory init`."""

from pathlib import Path
from typing import Annotated

import typer


def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml")) -> None:
    """Write a commented study file to start from.

    Its JSON Schema, for editors, is written beside it.
    """
    from loratory.spaces.command_line import command
    from loratory.spaces.starter import write_starter

    for written in write_starter(path):
        typer.echo(f"wrote {written}")
    typer.echo(f"edit it, then: {command('check', path)}, which shows what would be learned")
