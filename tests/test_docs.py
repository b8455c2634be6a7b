"""Documents name files, links and commands that exist, and are no wider than a page."""

import re
from pathlib import Path

import pytest

from loratory.spaces import load_study

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
WIDTH = 120

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = ("spaces", "objectives", "reports", "search", "tests", "benchmarks", "docs", "examples", "tools")
# A path from the root of the repository, such as `docs/data.md` or `search/`; not the end of another path.
PATH = re.compile(rf"(?<![\w./~-])(?:\.ci|{'|'.join(FOLDERS)})/[\w./-]*")


def relative(path):
    return path.relative_to(ROOT).as_posix()


def anchors(page):
    """Names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_paths(text):
    named = {match.group().rstrip(".-") for match in PATH.finditer(text)}
    return sorted(path for path in named if not (ROOT / path).exists())


def missing_links(page, text):
    missing = []
    for target in LINK.findall(text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            missing.append(target)
    return missing


def wide_lines(text):
    prose = FENCE.sub(lambda block: "\n" * block.group().count("\n"), text).splitlines()
    return [number for number, line in enumerate(prose, 1) if len(line) > WIDTH and not line.startswith("|")]


def test_the_checks_find_what_is_wrong():
    page, wide = ROOT / "README.md", "x" * (WIDTH + 1)
    assert missing_paths("`docs/nowhere.md`, `search/driver.py`, other/docs/a.md, tests/.") == [
        "docs/nowhere.md"
    ]
    assert missing_links(page, "[a](LICENSE) [b](docs/nowhere.md) [c](#two-heads) [d](https://x.org)") == [
        "docs/nowhere.md",
        "#two-heads",
    ]
    assert wide_lines(f"{wide}\n```\n{wide}\n```\n| {wide} |\n{wide}") == [1, 6]


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_paths_that_a_page_names_exist(page):
    assert missing_paths(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_of_a_page_lead_somewhere(page):
    assert missing_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_prose_is_at_most_120_columns_wide(page):
    assert wide_lines(page.read_text(encoding="utf-8")) == []


def test_no_document_shares_its_name_with_another():
    names = [path.name for path in DOCS]
    assert sorted(set(names)) == sorted(names)


def test_every_document_is_reached_from_the_readme():
    linked = {
        target.partition("#")[0] for target in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    }
    unreached = [
        relative(path) for path in DOCS if not any(relative(path).startswith(name) for name in linked)
    ]
    assert unreached == []


def test_make_targets_of_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r"^make ([\w-]+)", text, re.MULTILINE))
    assert named and named <= set(targets)


def test_the_study_of_the_readme_is_valid(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [study] = re.findall(r"^```yaml\n(name:.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "study.yaml").write_text(study)
    assert load_study(tmp_path / "study.yaml").space.distributions()
