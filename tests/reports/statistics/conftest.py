import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loratory.objectives.records import TrialRecord
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import StudyFolder

ARCHIVE = Path(__file__).parents[2] / "version_1" / "quickstart.tar.gz"


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
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A real study of 12 trials, 8 of them scored on 150 examples of 30 groups."""
    into = tmp_path_factory.mktemp("quickstart")
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(into, filter="data")
    return StudyFolder(into / "quickstart")


@pytest.fixture(scope="session")
def quickstart_records(quickstart: StudyFolder) -> list[TrialRecord]:
    return quickstart.read_records()


@pytest.fixture(scope="session")
def by_group(quickstart: StudyFolder) -> dict[str, ScoreTable]:
    found = sorted((quickstart.path / "trials").glob("*/scores.npz"))
    return {path.parent.name: ScoreTable.from_bytes(path.read_bytes()) for path in found}


@pytest.fixture(scope="session")
def by_example(by_group: dict[str, ScoreTable]) -> dict[str, ScoreTable]:
    return {key: replace(table, groups=table.example_ids) for key, table in by_group.items()}
