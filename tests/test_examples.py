"""Every example is a valid study, and its first two lines tell its command and its purpose."""

from pathlib import Path

import pytest

from loratory.spaces import load_study

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))


def test_no_example_is_missed():
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_and_says_how_to_run_it(path):
    study = load_study(path)
    command, purpose, *_ = path.read_text().splitlines()
    assert command.startswith(f"# loratory run examples/{path.name}")
    assert purpose.startswith("# ") and len(purpose) > 40
    assert study.space.distributions()
