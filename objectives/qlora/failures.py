"""What an exception means for the trial that it happened in."""

import traceback

import torch

from loratory.objectives.events import Failed
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.qlora.trial.trial import DivergedError
from loratory.objectives.records import FailureKind
from loratory.spaces.trial import TrialSpec


def device_is_lost(error: Exception) -> bool:
    """Whether every further call on the GPU will fail too, so that the worker must be replaced."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


def failed_event(trial: TrialSpec, error: Exception) -> Failed:
    """The event of an attempt that ended with an exception."""
    kind = FailureKind.CRASHED
    if isinstance(error, DivergedError):
        kind = FailureKind.DIVERGED
    elif is_out_of_memory(error):
        kind = FailureKind.OOM
    message = f"{type(error).__name__}: {error}" if kind is FailureKind.CRASHED else str(error)
    return Failed(
        key=trial.key,
        attempt=trial.attempt,
        kind=kind,
        message=" ".join(message.split()),
        traceback="".join(traceback.format_exception(error)),
    )
