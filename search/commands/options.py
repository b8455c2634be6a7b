"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

Overrides = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a key: --set a.b=c")]
Runs = Annotated[Path, typer.Option(help="Where study folders lie.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="A study folder: runs/NAME.")]
