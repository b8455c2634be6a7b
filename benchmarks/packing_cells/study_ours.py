"""The study through `loratory run`: the command, Ray, and one worker on the device."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from loratory.objectives.objective import Beginning, Prepared, objective_kind
from loratory.objectives.scores import predictions_from_bytes
from loratory.objectives.study_folder import PREDICTIONS, StudyFolder
from loratory.search.manifest import open_manifest
from loratory.search.optuna_rows import open_rows
from loratory.spaces.loading import load_study
from loratory.spaces.study import StudySpec
from packing_cells.study_plan import Parameters
from packing_cells.study_trace import read_trace, summarize_trace


def prepare(study_file: Path) -> tuple[StudySpec, Prepared]:
    """Load a study and its data as its driver does."""
    study = load_study(study_file)
    return study, objective_kind(study.objective).prepare(study, Beginning.now())


def run_ours(
    study: StudySpec, prepared: Prepared, study_file: Path, trials: Sequence[Parameters], device: torch.device
) -> dict[str, Any]:
    """Run a new study on exactly these trials.

    Returns:
        The result of `summarize_trace`, with `total_seconds` of the whole command, `attributed_seconds` of
        all records, and `short_answers`: the number of answers that ended early.

    Raises:
        RuntimeError: the command failed, or not every trial was trained to its end.
    """
    runs, trace = study_file.parent / "runs", study_file.parent / f"{study.name}.trace.jsonl"
    folder = StudyFolder(runs / study.name)
    record_trials(folder, study, prepared, trials)
    began = time.perf_counter()
    command = ["-m", "packing_cells.study_worker", str(trace), "run", str(study_file), "--runs", str(runs)]
    done = subprocess.run(
        [sys.executable, *command], stdout=sys.stderr, env=_environment(device), check=False
    )
    seconds = time.perf_counter() - began
    records = folder.read_records()
    states = sorted({str(record.state) for record in records})
    if done.returncode or states != ["COMPLETE"] or len(records) != len(trials):
        raise RuntimeError(
            f"all {len(trials)} trials must be COMPLETE, got {len(records)}, {', '.join(states)}, and exit "
            f"status {done.returncode}; see {folder.path}"
        )
    return {
        **summarize_trace(read_trace(trace)),
        "total_seconds": seconds,
        "attributed_seconds": sum(record.resources.gpu_seconds_attributed for record in records),
        "short_answers": _short_answers(folder, study),
    }


def record_trials(
    folder: StudyFolder, study: StudySpec, prepared: Prepared, trials: Sequence[Parameters]
) -> None:
    """Write the trials into the study's storage as interrupted asks, which the driver resumes."""
    folder.path.mkdir(parents=True)
    rows = open_rows(folder, open_manifest(folder, study, prepared, Beginning.now()))
    for trial in trials:
        rows.enqueue_trial(trial)
        rows.ask(study.space.distributions())


def _short_answers(folder: StudyFolder, study: StudySpec) -> int:
    """Count the answers with fewer words (here: tokens) than may be decoded."""
    answers = [
        prediction.prediction
        for record in folder.read_records()
        if (path := folder.trial(record.key) / PREDICTIONS).is_file()
        for prediction in predictions_from_bytes(path.read_bytes())
    ]
    return sum(len(answer.split()) < study.evaluation.max_new_tokens for answer in answers)


def _environment(device: torch.device) -> dict[str, str]:
    """Return this process's environment with its import path, and without GPUs for a study on the CPU."""
    path = os.pathsep.join(dict.fromkeys(str(Path(entry).absolute()) for entry in sys.path))
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device.type == "cpu" else {}
    return {**os.environ, "PYTHONPATH": path, **hidden}


def write_study(path: Path, content: dict[str, Any]) -> None:
    """Write a study file; JSON is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
