import subprocess
import sys
from importlib import import_module
from pathlib import Path

from loratory.search import commands

MODULES = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__", "options"}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout


def test_every_module_is_a_listed_command():
    assert set(commands.COMMANDS) == MODULES
    assert len(commands.COMMANDS) == len(MODULES)


def test_help_lists_every_command_with_the_beginning_of_its_docstring():
    listed = python("import sys; sys.argv[1:] = ['--help']; from loratory.search.main import main; main()")
    lines = [line.split() for line in listed.split("Commands:")[1].splitlines()]
    for name in commands.COMMANDS:
        documented = getattr(import_module(f"loratory.search.commands.{name}"), name).__doc__.split()
        assert [name, *documented[:4]] in [line[:5] for line in lines]
    assert "..." not in listed.split("Commands:")[1]


def test_help_imports_no_heavy_library():
    heavy = {"numpy", "optuna", "pydantic", "ray", "rich", "torch", "transformers", "yaml"}
    assert (
        python(f"import sys, loratory.search.main; print(*sorted({heavy} & set(sys.modules)))").strip() == ""
    )
