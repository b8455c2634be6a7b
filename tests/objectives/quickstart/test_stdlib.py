from pathlib import Path

import pytest

from loratory.objectives.quickstart.stdlib import Split, module_name, split_of, stdlib_modules


@pytest.mark.parametrize(
    ("module", "split"),
    [("tkinter.ttk", "train"), ("xml.sax.handler", "eval"), ("logging", "eval"), ("ipaddress", "test")],
)
def test_splits_never_change(module: str, split: str) -> None:
    assert split_of(module) is Split(split)


@pytest.mark.parametrize(
    ("name", "other"), [("datetime", "_pydatetime"), ("decimal", "_pydecimal"), ("io", "_pyio")]
)
def test_a_module_renamed_between_versions_keeps_its_split(name: str, other: str) -> None:
    assert split_of(name) is split_of(other)


def test_a_package_is_in_one_split() -> None:
    splits: dict[str, set[Split]] = {}
    for module in stdlib_modules():
        splits.setdefault(module.name.partition(".")[0], set()).add(split_of(module.name))
    assert len(splits) > 150
    assert all(len(of_package) == 1 for of_package in splits.values())


def test_tests_and_installed_packages_are_skipped(tmp_path: Path) -> None:
    for name in ("a.py", "b/__init__.py", "b/c.py", "b/tests/d.py", "test/e.py", "site-packages/f.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [module.name for module in stdlib_modules(tmp_path)] == ["a", "b", "b.c"]


def test_module_name() -> None:
    assert module_name(Path("xml/etree/__init__.py")) == "xml.etree"
    assert module_name(Path("__init__.py")) == "__init__"
