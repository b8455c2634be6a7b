"""A large study folder as a driver would leave it, without training: records, curves, scores per example."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.manifest import Manifest
from loratory.objectives.records import (
    AdapterRecord,
    CurvePoint,
    Measurement,
    Provenance,
    Resources,
    ScoreRecord,
    TrialRecord,
    TrialState,
)
from loratory.objectives.scores import Prediction, ScoreTable, predictions_to_bytes
from loratory.objectives.study_folder import BASE, StudyFolder
from loratory.objectives.versions import record_to_bytes
from loratory.reports.statistics.aggregates import aggregate_of
from loratory.spaces import StudySpec
from loratory.spaces.trial import trial_key

UUID = "00000000-0000-4000-8000-000000000000"
METRIC = "rougeL"
MEANS = ("rougeL", "loss", "rouge1", "rouge2", "token_f1", "exact_match")
EVALUATIONS, STEPS = 6, 100
SPEC: dict[str, Any] = {
    "name": "large",
    "metric": METRIC,
    "space": {
        "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
        "rank": {"type": "int", "low": 4, "high": 64, "log": True},
        "batch_size": [8, 16, 32],
        "epochs": {"type": "int", "low": 1, "high": 4},
    },
    "model": {"base": "acme/tiny", "revision": "main"},
    "data": {"train": "train.jsonl"},
    "evaluation": {"evaluations": EVALUATIONS},
}


def write_large_study(folder: StudyFolder, *, trials: int, examples: int) -> None:
    """Write a study with `trials` complete trials and a tenth more that were pruned.

    Args:
        folder: where it is written.
        trials: number of complete trials.
        examples: examples of eval.select, in groups of two.
    """
    spec = StudySpec.model_validate({**SPEC, "trials": trials + trials // 10})
    manifest = Manifest(uuid=UUID, spec=spec, hashes={}, created_at="2026-01-02T03:00:00+00:00")
    _write(folder.path, {"study.json": manifest.to_json().encode()})
    difficulty = np.random.default_rng(0).normal(0, 0.12, examples)
    for number in range(trials + trials // 10):
        rng = np.random.default_rng([1, number])
        params = {
            "learning_rate": float(10 ** rng.uniform(-5, -2)),
            "rank": int(rng.integers(4, 65)),
            "batch_size": int(rng.choice([8, 16, 32])),
            "epochs": int(rng.integers(1, 5)),
        }
        # The best learning rate is 1e-3; a few percent of trials are within noise of the best.
        skill = 0.45 - 0.12 * abs(np.log10(params["learning_rate"]) + 3) + rng.normal(0, 0.02)
        _write_trial(folder, number, params, max(0.02, skill), difficulty, complete=number < trials)
    _write_base(folder, difficulty)


def _write_trial(
    folder: StudyFolder,
    number: int,
    params: dict[str, Any],
    skill: float,
    difficulty: NDArray[np.float64],
    *,
    complete: bool,
) -> None:
    key, rng = trial_key(number), np.random.default_rng([2, number])
    metrics: dict[str, float] = {}
    if complete:
        table = score_table(skill, difficulty, rng)
        metrics = table.aggregate
        files = {"scores.npz": table.to_bytes()}
        if number < 200:
            files["predictions.jsonl"] = _predictions(table)
        _write(folder.trial(key), files)
    evaluations = EVALUATIONS if complete else 2
    record = TrialRecord(
        study=UUID,
        key=key,
        number=number,
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        reason="trained to the end" if complete else "median pruner: rougeL 0.1 at evaluation 2",
        params=params,
        values=[metrics[METRIC]] if complete else None,
        metrics=metrics,
        measurements=[_measurement(step, skill) for step in range(1, evaluations + 1)],
        resources=Resources(
            device="GPU",
            gpu_seconds_attributed=float(rng.uniform(10, 90)),
            peak_memory_bytes_pack=int(rng.uniform(10, 20) * 2**30),
            pack_size=16,
        ),
        provenance=Provenance(seed=number, versions={"torch": "2.13.0"}),
        adapter=AdapterRecord(sha256="0" * 64, size_bytes=40_000 * params["rank"], step=3)
        if complete
        else None,
        started_at="2026-01-02T03:00:00+00:00",
        finished_at="2026-01-02T04:00:00+00:00",
    )
    _write(folder.trial(key), {"record.json": record_to_bytes(record)})
    losses = 3 - skill - np.log(np.arange(1, STEPS + 1)) / 3 + rng.normal(0, 0.1, STEPS)
    folder.append_curve(
        key,
        (
            CurvePoint(
                optimizer_step=i, loss=float(loss), learning_rate=1e-3, grad_norm=1, tokens_seen=400 * i
            )
            for i, loss in enumerate(losses, start=1)
        ),
    )


def score_table(skill: float, difficulty: NDArray[np.float64], rng: np.random.Generator) -> ScoreTable:
    """Return scores per example of a trial, with all statistics of the eight metrics.

    Args:
        skill: share of words right, on average.
        difficulty: of each example, added to the skill, float64 [n].
        rng: source of the noise.
    """
    count = len(difficulty)
    right = np.clip(skill + difficulty + rng.normal(0, 0.1, count), 0, 1)
    metrics = {name: np.clip(right + rng.normal(0, 0.02, count), 0, 1) for name in MEANS}
    metrics["loss"] = 4 - 3 * right
    metrics["exact_match"] = (right > 0.6).astype(np.float64)
    statistics = {name: np.stack((metrics[name], np.ones(count)), axis=1) for name in MEANS}
    statistics |= {"bleu": _bleu(right, rng), "chrf": _chrf(right, rng)}
    return ScoreTable(
        example_ids=tuple(f"example-{i:05d}" for i in range(count)),
        groups=tuple(f"document-{i // 2:05d}" for i in range(count)),
        metrics=metrics,
        statistics=statistics,
        signatures=dict.fromkeys(statistics, "synthetic"),
        aggregate={
            name: float(aggregate_of(name)(columns.sum(axis=0))) for name, columns in statistics.items()
        },
    )


def _bleu(right: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return lengths, matches and n-grams of orders 1 to 4, float64 [n, 10]."""
    reference = rng.integers(8, 40, len(right))
    ngrams = np.stack([reference - order for order in range(4)], axis=1)
    matches = rng.binomial(ngrams, np.stack([right ** (order + 1) for order in range(4)], axis=1))
    return np.column_stack((reference, reference, matches, ngrams)).astype(np.float64)


def _chrf(right: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return n-grams of prediction and reference and matches, of orders 1 to 6, float64 [n, 18]."""
    length = rng.integers(40, 160, len(right))
    columns = []
    for order in range(6):
        ngrams = length - order
        columns += [ngrams, ngrams, rng.binomial(ngrams, right ** (1 + order / 3))]
    return np.column_stack(columns).astype(np.float64)


def _predictions(table: ScoreTable) -> bytes:
    return predictions_to_bytes(
        [
            Prediction(
                example_id=i, group=g, prompt="word " * 60, reference="word " * 20, prediction="word " * 20
            )
            for i, g in zip(table.example_ids, table.groups, strict=True)
        ]
    )


def _measurement(step: int, skill: float) -> Measurement:
    return Measurement(
        step=step,
        optimizer_steps=step * 16,
        examples_seen=step * 200,
        tokens_seen=step * 20_000,
        elapsed_seconds=step * 7.5,
        metrics={METRIC: skill * (1 - 0.6**step), "loss": 4 - skill},
    )


def _write_base(folder: StudyFolder, difficulty: NDArray[np.float64]) -> None:
    table = score_table(0.1, difficulty, np.random.default_rng(3))
    record = ScoreRecord(
        study=UUID, key=BASE, split="select", metrics=table.aggregate, provenance=Provenance(seed=0)
    )
    _write(folder.score(BASE), {"scores.npz": table.to_bytes(), "record.json": record_to_bytes(record)})


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
