"""The command line: `loratory COMMAND`. Its commands are in `search/commands/`."""

import gc
import sys
from importlib import import_module
from typing import Annotated

import typer

from loratory.search.commands import COMMANDS
from loratory.search.rights import missing_right
from loratory.search.terminal import replace_what_cannot_be_shown, say
from loratory.spaces.errors import LoratoryError

app = typer.Typer(
    help="Experiment tracking and hyperparameter search for QLoRA fine-tuning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _name in COMMANDS:
    app.command(_name)(getattr(import_module(f"loratory.search.commands.{_name}"), _name))


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("loratory"))
        raise typer.Exit


Debug = Annotated[bool, typer.Option(help="Show a traceback on errors.")]
Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
]

_debug = False


@app.callback()
def _options(debug: Debug = False, _version: Version = False) -> None:
    global _debug
    _debug = debug


def main() -> None:
    """Run the command line and exit.

    The exit status is 0 when the command has done its work, 2 for bad input, 130 when interrupted, and 1 for
    anything else. 3 (cannot tell) and 4 (worse) are reserved for `decide`.
    """
    replace_what_cannot_be_shown(sys.stdout, sys.stderr)
    try:
        app()
    except Exception as error:
        if _debug:
            raise
        told = error if isinstance(error, LoratoryError) else missing_right(error)
        if told is not None:
            _say_error(str(told))
            sys.exit(told.exit_status)
        _say_error(f"{type(error).__name__}: {error} (loratory --debug shows the traceback)")
        sys.exit(1)
    finally:
        gc.freeze()  # at its end the interpreter would search all of PyTorch for garbage, for a second or two


def _say_error(text: str) -> None:
    from rich.console import Console

    say(Console(stderr=True), text)


if __name__ == "__main__":
    main()
