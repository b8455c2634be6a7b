import pytest

from loratory.objectives.quickstart.pairs import Pair, gather_pairs


@pytest.fixture(scope="session")
def stdlib_pairs() -> list[Pair]:
    return list(gather_pairs())
