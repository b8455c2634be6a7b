import sys
from pathlib import Path

import pytest

# Tools are scripts: they are run with their folder on the path.
sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))

from loratory.objectives.quickstart.pairs import Pair, gather_pairs
from quickstart_base.answers import AnswerFilter, held_out_answers


@pytest.fixture(scope="session")
def stdlib_pairs() -> list[Pair]:
    return list(gather_pairs())


@pytest.fixture(scope="session")
def answers() -> AnswerFilter:
    return AnswerFilter(held_out_answers())
