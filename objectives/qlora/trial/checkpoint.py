"""A trial's checkpoint: everything that a fresh slot needs to go on exactly from a measurement."""

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
        progress: how far it was.
        best: matrices of the best measurement; None before the first.
        state: the slot's state.
    """

    progress: Progress
    best: AdapterState | None
    state: SlotState


def checkpoint_bytes(spec: TrialSpec, checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as a file's content, which `read_checkpoint` reads."""
    progress = asdict(checkpoint.progress)
    # Plain lists: `weights_only` loads no classes.
    progress["history"] = [list(evaluated) for evaluated in checkpoint.progress.history]
    # torch saves one tensor for equal objects: `best` costs nothing while it is also the last.
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
    """Return the checkpoint in a file's content.

    Args:
        spec: the trial that goes on.
        data: what `checkpoint_bytes` gave, of this version or of version 3.

    Raises:
        LoratoryError: it is another trial's, or of another version.
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
    """Give a history that stops and chooses as the counts did which version 3 kept in its place."""
    step, value, stalled = (progress.pop(name) for name in ("best_step", "best_value", "stalled"))
    return progress | {"history": [] if value is None else [(step, value)] * (1 + stalled)}


def _identity(spec: TrialSpec) -> dict[str, Any]:
    # Without the attempt: a retry goes on from the checkpoint of the one before.
    return {"key": spec.key, "seed": spec.seed, "training": spec.training.model_dump_json()}


def _is_of(spec: TrialSpec, identity: dict[str, Any]) -> bool:
    # Version 3 has the number. Hyperparameters that are newer than a checkpoint have their defaults in it.
    key = trial_key(identity["number"]) if "number" in identity else identity["key"]
    training = TrainingParameters.model_validate_json(identity["training"])
    return (key, identity["seed"], training) == (spec.key, spec.seed, spec.training)
