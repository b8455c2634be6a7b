import pytest
import torch

from loratory.objectives.qlora.failures import device_is_lost, failed_event
from loratory.objectives.qlora.trial.trial import DivergedError
from loratory.objectives.records import FailureKind


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (DivergedError("the training loss is nan"), FailureKind.DIVERGED, "the training loss is nan"),
        (torch.OutOfMemoryError("too much"), FailureKind.OOM, "too much"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when"), FailureKind.OOM, "CUBLAS_STATUS_ALLOC_FAILED when"),
        (KeyError("q\n  proj"), FailureKind.CRASHED, "KeyError: 'q\\n proj'"),
    ],
)
def test_an_exception_says_how_its_attempt_ended(make_study, make_trial, error, kind, message):
    trial = make_trial(make_study(), 3, attempt=2)
    event = failed_event(trial, error)
    assert (event.key, event.attempt, event.kind) == ("0003", 2, kind)
    assert event.message.split() == message.split()
    assert type(error).__name__ in event.traceback


def test_only_an_error_of_the_device_loses_it():
    assert not device_is_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not device_is_lost(torch.OutOfMemoryError("too much"))
    assert device_is_lost(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
