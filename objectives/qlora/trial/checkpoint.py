"""The checkpoint of a trial: all state that a free slot needs to continue exactly from a measurement."""

import io
from dataclasses import asdict, dataclass
from typing import Any

import torch

from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import AdapterState
from loratory.objectives.qlora.trial.progress import Progress
from loratory.objectives.stopping import Evaluated
from loratory.spaces.errors import LoratoryError
from loratory.spaces.training import TrainingParameters
from loratory.spaces.trial import TrialSpec, trial_key

_VERSION, _OLDEST_VERSION = 4, 3


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trial at one of its measurements.

    Attributes:
        progress: progress of the trial.
        best: matrices of the best measurement; None before the first.
        state: the slot's state.
    """

    progress: Progress
    best: AdapterState | None
    state: SlotState


def checkpoint_bytes(spec: TrialSpec, checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as the content of a file, for `read_checkpoint`."""
    progress = asdict(checkpoint.progress)
    # Plain lists, since `weights_only` loads no classes.
    progress["history"] = [list(evaluated) for evaluated in checkpoint.progress.history]
    # torch saves an object once: `best` takes no space while it is also the last state.
    content = {
        "version": _VERSION,
        "trial": _identity(spec),
        "progress": progress,
        "best": checkpoint.best,
        "matrices": checkpoint.state.matrices,
        "moments": checkpoint.state.moments,
        "scaler": checkpoint.state.scaler,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read_checkpoint(spec: TrialSpec, data: bytes) -> Checkpoint:
    """Read a checkpoint from the content of a file.

    Args:
        spec: the trial to continue.
        data: bytes from `checkpoint_bytes` of this version or of version 3.

    Raises:
        LoratoryError: the checkpoint belongs to another trial or another version.
    """
    content: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    version = content["version"]
    if not _OLDEST_VERSION <= version <= _VERSION or not _is_of(spec, content["trial"]):
        raise LoratoryError(f"checkpoint must be of trial {spec.key} as it is now, is another's")
    progress = content["progress"] if version == _VERSION else _from_version_3(content["progress"])
    progress["history"] = tuple(Evaluated(*evaluated) for evaluated in progress["history"])
    return Checkpoint(
        progress=Progress(**progress),
        best=content["best"],
        state=SlotState(matrices=content["matrices"], moments=content["moments"], scaler=content["scaler"]),
    )


def _from_version_3(progress: dict[str, Any]) -> dict[str, Any]:
    """Replace the counts of version 3 by a history with the same effect on stopping and selection."""
    step, value, stalled = (progress.pop(name) for name in ("best_step", "best_value", "stalled"))
    return progress | {"history": [] if value is None else [(step, value)] * (1 + stalled)}


def _identity(spec: TrialSpec) -> dict[str, Any]:
    # Without the attempt, since a retry continues from the checkpoint of the previous one.
    return {"key": spec.key, "seed": spec.seed, "training": spec.training.model_dump_json()}


def _is_of(spec: TrialSpec, identity: dict[str, Any]) -> bool:
    # Version 3 has the number. Hyperparameters that a checkpoint does not have yet take their defaults.
    key = trial_key(identity["number"]) if "number" in identity else identity["key"]
    training = TrainingParameters.model_validate_json(identity["training"])
    return (key, identity["seed"], training) == (spec.key, spec.seed, spec.training)
