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


def module_name(path):
    """Dotted name of a file's module; that of the folder for `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("loratory", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def import_graph(files):
    """Each module with those of the modules of `files` that it imports, also lazily or for types alone."""
    modules = {module_name(path): path for path in files}
    graph = {}
    for module, path in modules.items():
        # Of `package.module.name` it is the longest beginning that is a module which is imported.
        beginnings = ([name, name.rpartition(".")[0]] for name in imports(path))
        found = {next(filter(modules.__contains__, some), module) for some in beginnings}
        graph[module] = sorted(found - {module})
    return graph


def circle_in(graph):
    """A circle of imports, from a module back to itself; None where there is none."""
    done, way = set(), []

    def visit(module):
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return None
        way.append(module)
        found = next(filter(None, map(visit, graph[module])), None)
        way.pop()
        done.add(module)
        return found

    return next(filter(None, map(visit, graph)), None)


def relative(path):
    return path.relative_to(ROOT).as_posix()


def test_every_layer_has_files_to_look_at():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_go_one_way(path):
    own = LAYERS.index(path.relative_to(ROOT).parts[0])
    taken = {name.split(".")[1] for name in imports(path) if name.startswith("loratory.")}
    assert taken <= set(LAYERS[: own + 1])


def test_no_modules_import_each_other_in_a_circle():
    circle = circle_in(import_graph(FILES))
    assert circle is None, " -> ".join(circle)


def test_a_circle_is_found_through_types_and_functions_and_told(monkeypatch, tmp_path):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    texts = {
        "apart.py": "from loratory.spaces import a",
        "a.py": "from loratory.spaces.b import B",
        "b.py": "if TYPE_CHECKING:\n    from loratory.spaces.c.d import D",
        "c/__init__.py": "",
        "c/d.py": "def late():\n    from loratory.spaces import a",
    }
    (tmp_path / "spaces" / "c").mkdir(parents=True)
    for name, text in texts.items():
        (tmp_path / "spaces" / name).write_text(text)
    files = sorted((tmp_path / "spaces").rglob("*.py"))
    graph = import_graph(files)
    names = ["a", "b", "c.d", "a"]
    assert circle_in(graph) == [f"loratory.spaces.{name}" for name in names]
    (tmp_path / "spaces" / "c" / "d.py").write_text("")
    assert circle_in(import_graph(files)) is None


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
