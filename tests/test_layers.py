"""The four packages import one way, and what must start fast or travel light imports nothing heavy."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("spaces", "objectives", "reports", "search")
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
FORBIDDEN = {
    "spaces": {"torch", "ray", "wandb", "transformers", "peft", "datasets", "bitsandbytes"},
    "objectives": {"ray", "optuna", "wandb"},
    "objectives/records.py": {"torch"},
    "objectives/events.py": {"torch"},
    "objectives/scores.py": {"torch"},
    "objectives/study_folder.py": {"torch"},
    "reports": {"ray"},
}


def imports(path):
    """Dotted names of all that a file imports, at its top and inside functions."""
    package = (*path.relative_to(ROOT).parent.parts,)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ("loratory", *package)[: 1 + len(package) - (node.level - 1)] if node.level else ()
            base = ".".join(filter(None, (*above, node.module)))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def relative(path):
    return path.relative_to(ROOT).as_posix()


def test_every_layer_has_files_to_look_at():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_go_one_way(path):
    own = LAYERS.index(path.relative_to(ROOT).parts[0])
    taken = {name.split(".")[1] for name in imports(path) if name.startswith("loratory.")}
    assert taken <= set(LAYERS[: own + 1])


@pytest.mark.parametrize("place", FORBIDDEN)
def test_forbidden_libraries_are_not_imported(place):
    files = [path for path in FILES if relative(path) == place or relative(path).startswith(f"{place}/")]
    assert files
    found = {
        (relative(path), name)
        for path in files
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN[place]
    }
    assert found == set()


@pytest.mark.parametrize(
    "module",
    [
        "loratory.spaces",
        "loratory.spaces.starter",
        "loratory.objectives.events",
        "loratory.objectives.records",
        "loratory.objectives.study_folder",
        "loratory.objectives.objective",
        "loratory.objectives.metrics",
    ],
)
def test_importing_it_loads_no_heavy_library(module):
    heavy = {"torch", "ray", "wandb", "transformers", "peft", "datasets", "evaluate", "pandas", "plotly"}
    code = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == ""


def test_every_package_is_in_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in FILES}
    assert {f"loratory.{folder.replace('/', '.')}" for folder in folders} == set(settings["packages"])
