"""`loratory init`."""

from pathlib import Path
from typing import Annotated

import typer


def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml")) -> None:
    """Write a commented study file to start from, and its JSON Schema for editors."""
    from loratory.spaces.starter import write_starter

    for written in write_starter(path):
        typer.echo(f"wrote {written}")
    typer.echo(f"edit it, then: loratory run {path}")
