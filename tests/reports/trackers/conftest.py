import gzip
import json
import re
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loratory.objectives.atomic_files import write_atomically
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
from loratory.objectives.study_folder import StudyFolder
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import trial_key

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
            key=trial_key(number),
            number=number,
            params={"learning_rate": 1e-4 * (number + 1)},
            provenance=Provenance(seed=77 + number, versions={"torch": "2.13.0"}),
        )
        self._write(record)

    def train(self, number: int, evaluation: int, tracker: Any = None) -> None:
        first = (evaluation - 1) * STEPS_PER_EVALUATION
        points = tuple(self.point(step + 1) for step in range(first, first + STEPS_PER_EVALUATION))
        self.folder.append_curve(trial_key(number), points)
        if tracker is not None:
            tracker.observe(Progressed(key=trial_key(number), attempt=1, points=points), self.records[number])
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
            event = Reported(key=trial_key(number), attempt=1, measurement=measurement, resources=Resources())
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
            write_atomically(
                self.folder.trial(trial_key(number)) / "predictions.jsonl", predictions_to_bytes(PREDICTIONS)
            )
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


class WandbServer:
    """As much of a W&B server as a run needs: it keeps the rows and summaries that it is sent.

    `refuse` makes it answer rows with 403, as a server does that will never take them.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, Any]] = {}
        self.summaries: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.exit_codes: dict[str, int] = {}
        self.refuse = False
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def history(self, run_id: str) -> list[Any]:
        rows = self.rows.get(run_id, {})
        assert sorted(rows) == list(range(len(rows)))
        return [rows[i] for i in sorted(rows)]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _handler(server: "WandbServer") -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                self._reply({})

            def do_PUT(self) -> None:
                server.uploads[self.path] = self._body()
                self._reply({})

            def do_POST(self) -> None:
                body = json.loads(self._body())
                if self.path == "/graphql":
                    operation = re.search(r"(?:query|mutation)\s+(\w+)", body["query"])
                    name = operation[1] if operation else ""
                    answer = server._answer(name, body.get("variables", {}))
                    self._reply(
                        {"data": answer} if answer is not None else {"errors": [{"message": f"no {name}"}]}
                    )
                elif server.refuse:
                    self._reply({"error": "refused"}, 403)
                else:
                    server._take(self.path.split("/")[-2], body)
                    self._reply({})

            def _body(self) -> bytes:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

            def _reply(self, answer: Any, status: int = 200) -> None:
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        return Handler

    def _take(self, run_id: str, body: dict[str, Any]) -> None:
        for name, chunk in (body.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                for index, line in enumerate(chunk["content"]):
                    self.rows.setdefault(run_id, {})[chunk["offset"] + index] = json.loads(line)
            elif name == "wandb-summary.json":
                self.summaries.setdefault(run_id, {}).update(json.loads(chunk["content"][-1]))
        if body.get("complete"):
            self.exit_codes[run_id] = body["exitcode"]

    def _answer(self, operation: str, variables: dict[str, Any]) -> Any:
        entity = {"id": "1", "name": "me"}
        project = {"id": "1", "name": "loratory", "entity": entity}
        match operation:
            case "UpsertBucket":
                name, new = variables["name"], variables["name"] not in self.runs
                self.runs.setdefault(name, {}).update({k: v for k, v in variables.items() if v is not None})
                bucket = {"id": name, "name": name, "displayName": name, "config": "{}", "project": project}
                return {"upsertBucket": {"bucket": bucket, "inserted": new}}
            case "RunResumeStatus":
                name = variables["name"]
                bucket = self._resume_status(name) if name in self.runs else None
                return {"model": {"id": "1", "name": "loratory", "entity": entity, "bucket": bucket}}
            case "CreateRunFiles":
                files = [{"name": f, "uploadUrl": f"{self.url}/upload/{f}"} for f in variables["files"]]
                return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}
            case "Viewer":
                return {"viewer": {"id": "1", "username": "me", "entity": "me", "flags": "{}"}}
        return None

    def _resume_status(self, run_id: str) -> dict[str, Any]:
        rows = self.history(run_id)
        return {
            "id": run_id,
            "name": run_id,
            "historyLineCount": len(rows),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in rows[-1:]]),
            "eventsTail": "[]",
            # A machine that dies before it sent rows has not sent their summary either.
            "summaryMetrics": json.dumps(self.summaries.get(run_id, {}) | {"_step": len(rows) - 1}),
            "config": self.runs[run_id].get("config", "{}"),
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),  # without it wandb takes the run for a new one
        }


@pytest.fixture
def wandb_server(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A stand-in for a W&B server on the loopback, and a key for it in the environment."""
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    yield server
    server.close()


@pytest.fixture
def study_uuid() -> str:
    return UUID


@pytest.fixture
def study_with() -> Any:
    return make_study


@pytest.fixture
def expected_predictions() -> tuple[Prediction, ...]:
    return PREDICTIONS
