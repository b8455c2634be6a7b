"""A study folder as a driver would leave it: twelve trials of all states, scores, predictions, curves."""

import functools
import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from loratory.objectives.manifest import Manifest
from loratory.objectives.metrics import score_texts
from loratory.objectives.records import (
    AdapterRecord,
    CurvePoint,
    FailureKind,
    Measurement,
    Provenance,
    Resources,
    ScoreRecord,
    TrialError,
    TrialRecord,
    TrialState,
)
from loratory.objectives.scores import Prediction, ScoreTable, predictions_to_bytes
from loratory.objectives.study_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    BASE,
    CONFIRM_BASE,
    TEST_BASE,
    TEST_WINNER,
    StudyFolder,
    confirm_key,
)
from loratory.spaces import StudySpec
from loratory.spaces.trial import retraining_key, trial_key

UUID = "6f1f3c1e-8d0a-4a0e-9a55-0c1f5f7a2b11"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
METRICS = ("rougeL", "bleu", "token_f1", "exact_match")
EXAMPLES = 60
NASTY = (
    "</script><script>window.pwned = 1</script>",
    "{{ 7 * 7 }} {% raw %} ${1+1}",
    "=cmd|' /C calc'!A0",
    "第一行\n第二行 | 表格 🚀",
    "<img src=x onerror=window.pwned=1> <!-- -->",
    "````\nfence `inside`\n```",
    "x" * 30_000,
)

SPEC: dict[str, Any] = {
    "name": "docstrings",
    "metric": "rougeL",
    "trials": 12,
    "early_stopping_patience": 2,
    "space": {
        "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
        "rank": {"type": "int", "low": 4, "high": 64, "log": True},
        "batch_size": [8, 16, 32],
        "target_modules": ["all-linear", ["q_proj", "v_proj"]],
    },
    "model": {"base": "acme/tiny-llama", "revision": "main"},
    "data": {"train": "train.jsonl"},
    "evaluation": {"evaluations": 4, "metrics": list(METRICS[1:])},
}

Row = tuple[int, TrialState, float, float, int, int, Any]
# number, state, skill (share of words right), learning rate, rank, batch size, modules
TRIALS: list[Row] = [
    (0, TrialState.COMPLETE, 0.30, 1e-4, 8, 16, "all-linear"),
    (1, TrialState.COMPLETE, 0.62, 1e-3, 16, 16, "all-linear"),
    (2, TrialState.PRUNED, 0.10, 2e-5, 4, 32, ["q_proj", "v_proj"]),
    (3, TrialState.COMPLETE, 0.55, 2e-3, 8, 8, ["q_proj", "v_proj"]),
    (4, TrialState.FAIL, 0.05, 5e-4, 64, 32, "all-linear"),
    (5, TrialState.COMPLETE, 0.45, 3e-4, 32, 16, "all-linear"),
    (6, TrialState.PRUNED, 0.15, 9e-3, 16, 8, "all-linear"),
    (7, TrialState.COMPLETE, 0.92, 1.5e-3, 32, 8, "all-linear"),
    (8, TrialState.INFEASIBLE, 0.0, 1e-3, 64, 32, "all-linear"),
    (9, TrialState.COMPLETE, 0.35, 6e-5, 32, 32, "all-linear"),
    (10, TrialState.COMPLETE, 0.70, 1.2e-3, 64, 8, "all-linear"),
    (11, TrialState.RUNNING, 0.40, 1e-3, 48, 16, "all-linear"),
]
REASONS = {
    TrialState.COMPLETE: "trained to the end",
    TrialState.PRUNED: "rougeL 0.08 at evaluation 2 is below the median 0.31",
    TrialState.FAIL: 'CUDA out of memory | 20 GiB\n=HYPERLINK("http://evil")',
    TrialState.INFEASIBLE: "needs 92 GiB, the largest worker has 80 GiB",
}
WORDS = (
    "return",
    "the",
    "list",
    "of",
    "open",
    "files",
    "for",
    "a",
    "given",
    "path",
    "or",
    "None",
    "数据",
    "值",
)

ARCHIVE = Path(__file__).parents[1] / "version_1" / "quickstart.tar.gz"


def _texts(skill: float, seed: int) -> tuple[list[str], list[str]]:
    """References, the same for every seed, and predictions of which a share of the words is right."""
    words, noise = np.random.default_rng(0), np.random.default_rng([1, seed])
    references, predictions = [], []
    for index in range(EXAMPLES):
        reference = words.choice(WORDS, size=8).tolist()
        kept = [w if noise.random() < skill else str(noise.choice(WORDS)) for w in reference]
        references.append(" ".join(reference))
        nasty = seed == 7 and index % 6 == 0
        predictions.append(NASTY[index // 6 % len(NASTY)] if nasty else " ".join(kept))
    return references, predictions


@functools.cache
def _score_files(skill: float, seed: int) -> tuple[dict[str, bytes], dict[str, float]]:
    references, predictions = _texts(skill, seed)
    scores = score_texts(METRICS, predictions, references)
    ids = tuple(f"example-{index:03d}" for index in range(EXAMPLES))
    groups = tuple(f"module-{index // 2}" for index in range(EXAMPLES))
    table = ScoreTable(example_ids=ids, groups=groups, **vars(scores))
    rows = [
        Prediction(
            example_id=i,
            group=g,
            prompt="\n".join(NASTY[: 7 if n % 9 == 0 else 6]),
            reference=r,
            prediction=p,
        )
        for n, (i, g, r, p) in enumerate(zip(ids, groups, references, predictions, strict=True))
    ]
    files = {"scores.npz": table.to_bytes(), "predictions.jsonl": predictions_to_bytes(rows)}
    return files, scores.aggregate


def _scored(path: Path, skill: float, seed: int) -> dict[str, float]:
    files, aggregate = _score_files(skill, seed)
    _write(path, files)
    return dict(aggregate)


def _write(path: Path, files: dict[str, bytes]) -> None:
    # Not write_atomically: syncing hundreds of files to disk takes longer than the tests.
    path.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (path / name).write_bytes(data)


def _measurements(skill: float, count: int, batch_size: int) -> list[Measurement]:
    return [
        Measurement(
            step=step,
            optimizer_steps=step * 800 // batch_size,
            examples_seen=step * 200,
            tokens_seen=step * 20_000,
            elapsed_seconds=step * 7.5,
            metrics={"rougeL": skill * (1 - 0.6**step), "loss": 4 - 2 * skill * (1 - 0.5**step)},
        )
        for step in range(1, count + 1)
    ]


def _curve(skill: float, count: int) -> list[CurvePoint]:
    noise = np.random.default_rng(3)
    return [
        CurvePoint(
            optimizer_step=step,
            loss=float(4 - 2 * skill * (1 - 0.98**step) + noise.normal(0, 0.1)),
            learning_rate=1e-3,
            grad_norm=1.0,
            tokens_seen=step * 400,
        )
        for step in range(1, count * 50 + 1)
    ]


def adapter_files() -> dict[str, bytes]:
    """PEFT's two files, small, with the base and its commit as the engine writes them for a Hub id."""
    weight = np.arange(32, dtype=np.float32).reshape(4, 8)
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{prefix}.lora_A.weight": weight, f"{prefix}.lora_B.weight": weight.T.copy()}
    config = {
        "base_model_name_or_path": "acme/tiny-llama",
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "inference_mode": True,
        "revision": COMMIT,
    }
    return {ADAPTER_WEIGHTS: save(tensors), ADAPTER_CONFIG: json.dumps(config).encode()}


def _adapter(folder: StudyFolder, key: str) -> AdapterRecord:
    files = adapter_files()
    _write(folder.adapter(key), files)
    weights = files[ADAPTER_WEIGHTS]
    return AdapterRecord(sha256=hashlib.sha256(weights).hexdigest(), size_bytes=len(weights), step=3)


def _minute(number: float) -> str:
    return (datetime(2026, 1, 2, 3, tzinfo=UTC) + timedelta(minutes=number)).isoformat()


def _error(state: TrialState) -> TrialError | None:
    if state is not TrialState.FAIL:
        return None
    return TrialError(attempt=2, kind=FailureKind.OOM, message=REASONS[state], traceback="Traceback ...")


def write_trial(folder: StudyFolder, row: Row) -> TrialRecord:
    """One trial with its files."""
    number, state, skill, learning_rate, rank, batch_size, modules = row
    key = trial_key(number)
    complete = state is TrialState.COMPLETE
    metrics = _scored(folder.trial(key), skill, number) if complete else {}
    evaluations = {TrialState.COMPLETE: 4, TrialState.INFEASIBLE: 0, TrialState.FAIL: 1}.get(state, 2)
    record = TrialRecord(
        study=UUID,
        key=key,
        number=number,
        attempt=2 if state is TrialState.FAIL else 1,
        state=state,
        reason=REASONS.get(state, ""),
        params={
            "learning_rate": learning_rate,
            "rank": rank,
            "batch_size": batch_size,
            "target_modules": modules,
        },
        # Optuna gives a pruned trial its last value: a high one here must not place it.
        values=[metrics["rougeL"]] if complete else ([0.99] if state is TrialState.PRUNED else None),
        metrics=metrics,
        measurements=_measurements(skill, evaluations, batch_size),
        resources=Resources(
            device="NVIDIA H200",
            gpu_seconds_attributed=10.0 * evaluations,
            peak_memory_bytes_pack=evaluations * 2**29,
        ),
        provenance=Provenance(seed=1000 + number, versions={"torch": "2.13.0", "peft": "0.21.2"}),
        adapter=_adapter(folder, key) if complete else None,
        error=_error(state),
        started_at=None if state is TrialState.INFEASIBLE else _minute(number),
        finished_at=None if state is TrialState.RUNNING else _minute(number + 1.5),
    )
    _write(folder.trial(key), {"record.json": record.model_dump_json().encode()})
    if evaluations:
        folder.append_curve(key, _curve(skill, evaluations))
    return record


def write_retrained(
    folder: StudyFolder,
    number: int,
    index: int,
    *,
    skill: float = 0.5,
    state: TrialState = TrialState.COMPLETE,
    reason: str = "trained to the end",
) -> TrialRecord:
    """A training of a trial's settings on a new seed, with its files."""
    key = retraining_key(number, index)
    complete = state is TrialState.COMPLETE
    metrics = _scored(folder.trial(key), skill, 100 * number + index) if complete else {}
    changes = {
        "key": key,
        "number": None,
        "state": state,
        "reason": reason,
        "values": [metrics["rougeL"]] if complete else None,
        "metrics": metrics,
        "provenance": Provenance(seed=100 * number + index, versions={"torch": "2.13.0"}),
        "adapter": _adapter(folder, key) if complete else None,
        "finished_at": _minute(60) if state.finished else None,
    }
    record = folder.read_record(trial_key(number)).model_copy(update=changes)
    _write(folder.trial(key), {"record.json": record.model_dump_json().encode()})
    return record


def write_score(folder: StudyFolder, *, key: str, split: str, skill: float, number: int | None) -> None:
    """A scoring outside any trial."""
    path = folder.score(key)
    metrics = _scored(path, skill, 500 if number is None else number)
    record = ScoreRecord(
        study=UUID,
        key=key,
        split=split,
        trial=None if number is None else trial_key(number),
        number=number,
        metrics=metrics,
        provenance=Provenance(seed=0),
    )
    _write(path, {"record.json": record.model_dump_json().encode()})


def write_manifest(folder: StudyFolder, **changes: Any) -> None:
    """study.json with some keys of the study file changed."""
    manifest = Manifest(
        uuid=UUID,
        spec=StudySpec.model_validate({**SPEC, **changes}),
        hashes={"base": "b" * 64, "data": "d" * 64},
        created_at="2026-01-02T03:00:00+00:00",
    )
    _write(folder.path, {"study.json": manifest.to_json().encode()})


def write_study(
    folder: StudyFolder,
    rows: Sequence[Row] = TRIALS,
    *,
    base: bool = True,
    test: bool = True,
    **changes: Any,
) -> StudyFolder:
    """A study folder with these trials, and with keys of the study file changed."""
    write_manifest(folder, **changes)
    for row in rows:
        write_trial(folder, row)
    if base:
        write_score(folder, key=BASE, split="select", skill=0.02, number=None)
    if test:
        write_score(folder, key=TEST_BASE, split="test", skill=0.03, number=None)
        write_score(folder, key=TEST_WINNER, split="test", skill=0.7, number=7)
    return folder


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., StudyFolder]:
    """Writes a study folder: `make_study(rows, base=True, test=True, **changes of the study file)`."""
    return functools.partial(write_study, StudyFolder(tmp_path / "docstrings"))


@pytest.fixture(scope="session")
def pristine_study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The whole study of twelve trials; read only."""
    return write_study(StudyFolder(tmp_path_factory.mktemp("pristine") / "docstrings"))


@pytest.fixture
def retrain() -> Callable[..., TrialRecord]:
    """`write_retrained`."""
    return write_retrained


def _plain_table(mean: float, split: str, seed: int) -> ScoreTable:
    """Scores of 60 examples in 30 groups: a mean, how hard each example is, and noise of the model's own."""
    ids = tuple(f"{split}-{index:02d}" for index in range(EXAMPLES))
    hard = np.random.default_rng(sum(map(ord, split))).normal(0, 0.1, EXAMPLES)
    own = np.random.default_rng([2, seed]).normal(0, 0.05, EXAMPLES)
    values = mean + (hard - hard.mean()) + (own - own.mean())
    return ScoreTable(
        example_ids=ids,
        groups=tuple(f"{split}-group-{index // 2}" for index in range(EXAMPLES)),
        metrics={"rougeL": values},
        statistics={},
        signatures={"rougeL": "own"},
        aggregate={"rougeL": float(values.mean())},
    )


def write_plain_study(
    folder: StudyFolder,
    select: dict[int, float],
    *,
    confirm: dict[int | None, float] | None = None,
    test: dict[int | None, float] | None = None,
    seed: int = 0,
    examples_of: str = "",
    **changes: Any,
) -> StudyFolder:
    """A study whose scores are mean and noise, with adapters that differ from each other.

    Args:
        folder: where it is written; its name is the study's.
        select: mean on select of each trial, by number.
        confirm: mean on confirm by number; None is the base.
        test: mean on test by number; None is the base.
        seed: of the models' noise, the weights and the identity.
        examples_of: a word in the ids of the examples: studies with other words have other examples.
        changes: keys of the study file.
    """
    name = folder.path.name
    write_manifest(folder, name=name, **changes)
    splits = {"train": 9, "dev": 9, "select": EXAMPLES} | ({"confirm": EXAMPLES} if confirm else {})
    manifest = replace(folder.read_manifest(), uuid=f"uuid of {name} {seed}", splits=splits)
    _write(folder.path, {"study.json": manifest.to_json().encode()})
    for number, mean in select.items():
        write_plain_trial(folder, trial_key(number), mean, number=number, seed=seed, examples_of=examples_of)
    for split, means in {"select": {None: 0.1}, "confirm": confirm or {}, "test": test or {}}.items():
        for number, mean in means.items():
            table = _plain_table(
                mean, f"{examples_of}{split}", 1000 * seed + (99 if number is None else number)
            )
            _write_score(folder, split, number, table)
    return folder


def write_plain_trial(
    folder: StudyFolder, key: str, mean: float, *, number: int | None, seed: int = 0, examples_of: str = ""
) -> None:
    """A complete trial, or a retraining, of `write_plain_study`."""
    place = int(key.replace("confirm/", "").replace("-", ""))
    table = _plain_table(mean, f"{examples_of}select", 1000 * seed + place)
    files = adapter_files()
    files[ADAPTER_WEIGHTS] = save({"base_model.layers.0.lora_A.weight": np.array([place, seed], np.float32)})
    _write(folder.adapter(key), files)
    digest = hashlib.sha256(files[ADAPTER_WEIGHTS]).hexdigest()
    record = TrialRecord(
        study=folder.read_manifest().uuid,
        key=key,
        number=number,
        state=TrialState.COMPLETE,
        params={"learning_rate": 1e-3, "rank": 8},
        values=[table.aggregate["rougeL"]],
        metrics=table.aggregate,
        resources=Resources(device="NVIDIA H200", gpu_seconds_attributed=20.0, peak_memory_bytes_pack=2**30),
        provenance=Provenance(seed=place),
        adapter=AdapterRecord(sha256=digest, size_bytes=2**20, step=3),
        started_at=_minute(place % 100),
        finished_at=_minute(place % 100 + 1),
    )
    _write(
        folder.trial(key), {"record.json": record.model_dump_json().encode(), "scores.npz": table.to_bytes()}
    )


def _write_score(folder: StudyFolder, split: str, number: int | None, table: ScoreTable) -> None:
    of_base = {"select": BASE, "confirm": CONFIRM_BASE, "test": TEST_BASE}
    trial = None if number is None else trial_key(number)
    key = of_base[split] if trial is None else TEST_WINNER if split == "test" else confirm_key(trial)
    record = ScoreRecord(
        study=folder.read_manifest().uuid,
        key=key,
        split=split,
        trial=trial,
        number=number,
        metrics=table.aggregate,
        provenance=Provenance(seed=0),
    )
    files = {"record.json": record.model_dump_json().encode(), "scores.npz": table.to_bytes()}
    _write(folder.score(key), files)


@pytest.fixture
def plain_study(tmp_path: Path) -> Callable[..., StudyFolder]:
    """Writes a study by its name: `plain_study("a", {0: 0.5}, confirm={0: 0.5}, test={0: 0.5}, seed=1)`."""
    return lambda name, *means, **rest: write_plain_study(StudyFolder(tmp_path / name), *means, **rest)


@pytest.fixture
def plain_trial() -> Callable[..., None]:
    """`write_plain_trial`."""
    return write_plain_trial


@pytest.fixture
def retrained(study: StudyFolder) -> StudyFolder:
    """The study, with the settings of trials 7 and 10 trained again on three new seeds."""
    for index, skill in enumerate((0.5, 0.4, 0.6), start=1):
        write_retrained(study, 7, index, skill=skill)
    write_retrained(study, 10, 1, skill=0.7)
    write_retrained(study, 10, 2, skill=0.8)
    write_retrained(study, 10, 3, state=TrialState.PRUNED, reason="diverged: loss is nan <b>|\n=1+1")
    return study


@pytest.fixture
def study(pristine_study: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of the whole study."""
    return StudyFolder(shutil.copytree(pristine_study.path, tmp_path / "docstrings"))


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
