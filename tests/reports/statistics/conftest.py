from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from loratory.objectives.scores import ScoreTable


@pytest.fixture
def table() -> Callable[..., ScoreTable]:
    def made(
        values: Sequence[float], *, groups: Sequence[str] | None = None, metric: str = "rougeL"
    ) -> ScoreTable:
        scores = np.array(values, dtype=np.float64)
        ids = tuple(f"e{i}" for i in range(len(scores)))
        return ScoreTable(
            example_ids=ids,
            groups=tuple(groups or ids),
            metrics={metric: scores},
            statistics={},
            signatures={},
            aggregate={metric: float(scores.sum() / max(1, len(scores)))},
        )

    return made


@pytest.fixture(scope="session")
def by_example(by_group: dict[str, ScoreTable]) -> dict[str, ScoreTable]:
    return {key: replace(table, groups=table.example_ids) for key, table in by_group.items()}
