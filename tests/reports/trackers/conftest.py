import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from loratory.objectives.events import Progressed, Reported
from loratory.objectives.records import (
    AdapterRecord,
    CurvePoint,
    FailureKind,
    Measurement,
    Provenance,
    Resources,
    TrialError,
    TrialRecord,
    TrialState,
)
from loratory.objectives.scores import Prediction, predictions_to_bytes
from loratory.objectives.study_folder import StudyFolder, write_atomically
from loratory.spaces.study import StudySpec

UUID = "0b8f7c1e-1111-4222-8333-abcdefabcdef"
STEPS_PER_EVALUATION = 5


def make_study(*, mode: str = "offline", tensorboard: bool = False, **wandb: Any) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "tracked",
            "objective": "toy",
            "metric": "rougeL",
            "trials": 4,
            "space": {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}},
            "training": {"rank": 8, "epochs": 2},
            "storage": "postgresql://me:hunter2@db/studies",
            "tracking": {
                "wandb": {"mode": mode, "tags": ["blue"], "prediction_rows": 3} | wandb,
                "tensorboard": tensorboard,
            },
        }
    )


@dataclass
class Driver:
    """Writes a study folder as the owner of a study does, and tells a tracker after each step."""

    folder: StudyFolder
    records: dict[int, TrialRecord] = field(default_factory=dict)

    def start(self, number: int) -> None:
        record = TrialRecord(
            study=UUID,
            number=number,
            params={"learning_rate": 1e-4 * (number + 1)},
            provenance=Provenance(seed=77 + number, versions={"torch": "2.13.0"}),
        )
        self._write(record)

    def train(self, number: int, evaluation: int, tracker: Any = None) -> None:
        first = (evaluation - 1) * STEPS_PER_EVALUATION
        points = tuple(self.point(step + 1) for step in range(first, first + STEPS_PER_EVALUATION))
        self.folder.append_curve(number, points)
        if tracker is not None:
            tracker.observe(Progressed(number=number, attempt=1, points=points), self.records[number])
        measurement = Measurement(
            step=evaluation,
            optimizer_steps=points[-1].optimizer_step,
            examples_seen=100 * evaluation,
            tokens_seen=points[-1].tokens_seen,
            elapsed_seconds=1.5 * evaluation,
            metrics={"rougeL": evaluation / 10, "loss": 1 / evaluation},
        )
        record = self.records[number]
        self._write(record.model_copy(update={"measurements": [*record.measurements, measurement]}))
        if tracker is not None:
            event = Reported(number=number, attempt=1, measurement=measurement, resources=Resources())
            tracker.observe(event, self.records[number])

    def end(self, number: int, state: TrialState, tracker: Any = None) -> None:
        complete = state is TrialState.COMPLETE
        error = TrialError(attempt=1, kind=FailureKind.OOM, message="out of memory")
        self._write(
            self.records[number].model_copy(
                update={
                    "state": state,
                    "reason": f"because {state.value.lower()}",
                    "values": [0.625] if complete else None,
                    "metrics": {"rougeL": 0.625, "bleu": 12.5} if complete else {},
                    "adapter": AdapterRecord(sha256="ab" * 32, size_bytes=9, step=2) if complete else None,
                    "resources": Resources(device="toy", gpu_seconds_attributed=4.5),
                    "error": error if state is TrialState.FAIL else None,
                    "finished_at": "2026-01-02T03:04:05Z",
                }
            )
        )
        if complete:
            write_atomically(self.folder.trial(number) / "predictions.jsonl", predictions_to_bytes(PREDICTIONS))
        if tracker is not None:
            tracker.finished(self.records[number])

    def run(self, number: int, state: TrialState, tracker: Any = None, *, evaluations: int = 4) -> None:
        self.start(number)
        for evaluation in range(1, evaluations + 1):
            self.train(number, evaluation, tracker)
        self.end(number, state, tracker)

    @staticmethod
    def point(step: int) -> CurvePoint:
        return CurvePoint(
            optimizer_step=step, loss=1 / step, learning_rate=1e-4, grad_norm=0.5, tokens_seen=64 * step
        )

    def _write(self, record: TrialRecord) -> None:
        self.records[record.number] = record
        self.folder.write_record(record)


PREDICTIONS = tuple(
    Prediction(
        example_id=f"e{i}", group="g", prompt=f"问 {i}", reference=f"answer {i}", prediction=f"guess {i}"
    )
    for i in range(5)
)


@dataclass
class ReadRun:
    """An offline run as it stands on disk."""

    folder: Path
    id: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    step_metrics: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None

    def column(self, axis: str, name: str) -> list[tuple[Any, Any]]:
        return [(row[axis], row[name]) for row in self.history if axis in row]

    def table(self) -> dict[str, Any]:
        path = self.folder / "files" / self.summary["predictions"]["path"]
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return table


def read_run(folder: Path) -> ReadRun:
    (path,) = folder.glob("run-*.wandb")
    run = ReadRun(folder)
    for record in _wandb_records(path.read_bytes()):
        match record.WhichOneof("record_type"):
            case "run":
                run.id, run.group, run.tags = record.run.run_id, record.run.run_group, tuple(record.run.tags)
                run.config |= {i.key: json.loads(i.value_json) for i in record.run.config.update}
            case "history":
                run.history.append(_nested(record.history.item))
            case "summary":
                _nested(record.summary.update, run.summary)
            case "metric":
                run.step_metrics[record.metric.glob_name or record.metric.name] = record.metric.step_metric
            case "exit":
                run.exit_code = record.exit.exit_code
    return run


def _wandb_records(data: bytes) -> Any:
    """Records of a 7-byte header and LevelDB log blocks: crc, length, type (1 whole, 2 first, 4 last)."""
    from wandb.proto.wandb_internal_pb2 import Record

    assert data[:4] == b":W&B"
    position, parts = 7, b""
    while position + 7 <= len(data):
        left_in_block = 32_768 - position % 32_768
        if left_in_block < 7:
            position += left_in_block
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        position += 7
        parts += data[position : position + length]
        position += length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def _nested(items: Any, into: dict[str, Any] | None = None) -> dict[str, Any]:
    result = {} if into is None else into
    for item in items:
        *parents, last = item.nested_key or [item.key]
        place = result
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
    return result


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No key, no settings, an empty home; returns the home."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def folder(tmp_path: Path, clean_environment: Path) -> StudyFolder:
    path = tmp_path / "studies" / "tracked"
    path.mkdir(parents=True)
    return StudyFolder(path)


@pytest.fixture
def driver(folder: StudyFolder) -> Driver:
    return Driver(folder)


@pytest.fixture
def offline_runs(folder: StudyFolder) -> Any:
    """Reads the offline runs that a user would upload, by id."""

    def read() -> dict[str, ReadRun]:
        runs = [read_run(path) for path in sorted(folder.path.glob("wandb/offline-run-*"))]
        assert len({run.id for run in runs}) == len(runs), "two folders of one run"
        return {run.id: run for run in runs}

    return read


@pytest.fixture
def study_uuid() -> str:
    return UUID


@pytest.fixture
def study_with() -> Any:
    return make_study


@pytest.fixture
def expected_predictions() -> tuple[Prediction, ...]:
    return PREDICTIONS


