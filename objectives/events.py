"""What driver and worker say to each other: decisions one way, events the other. Plain values, no torch.

A trial is named by its key (`0011`), a scoring by its own (`test/winner`).

Silence means "go on". A trial trains on while the driver decides; once the driver has stopped it at a
step, whatever the worker did after that step is thrown away.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from loratory.objectives.records import (
    Arrangement,
    Check,
    CurvePoint,
    FailureKind,
    Measurement,
    Resources,
)
from loratory.objectives.scores import Prediction, ScoreTable
from loratory.spaces.trial import TrialSpec

AdapterFiles = dict[str, bytes]
"""PEFT's two files by name: adapter_model.safetensors and adapter_config.json."""


class Split(StrEnum):
    """Parts of the data that scores are computed on."""

    DEV = "dev"
    SELECT = "select"
    CONFIRM = "confirm"
    TEST = "test"


@dataclass(frozen=True, kw_only=True)
class Start:
    """Take a slot and train; go on from a checkpoint where there is one."""

    trial: TrialSpec
    checkpoint: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Give the slot back; `reason` says why, for the log."""

    key: str
    attempt: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """Score an adapter, or the untuned base, on a split."""

    key: str
    split: Split
    adapter: AdapterFiles | None = None


Decision = Start | Stop | Score


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The worker holds its base and waits for trials.

    Attributes:
        device: name of its device.
        compute_dtype: number format of its matrix products.
        capacity: trials accepted at once: in slots, waiting for one, or being scored.
        versions: versions of Python and packages.
        hashes: content hashes of what it loaded.
        notes: lines for the terminal: what it chose, and what it cannot do.
        checks: what it asked of its base; goes into the records of its trials.
        arrangement: how it is laid out; goes into the records of its trials.
        trial_limit_bytes: most device memory that one trial may take for its adapter and optimiser state, in
            the smallest arrangement of this worker; None: no limit is known.
    """

    device: str
    compute_dtype: str
    capacity: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    arrangement: Arrangement | None = None
    trial_limit_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Started:
    """A worker has begun the trial.

    Its schedule takes `optimizer_steps`; the learning rate rises in the first `warmup_steps`. `order` says
    how the order of its examples follows from its seed.
    """

    key: str
    attempt: int
    optimizer_steps: int
    warmup_steps: int | None = None
    order: str | None = None


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """Optimiser steps were made."""

    key: str
    attempt: int
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True)
class Reported:
    """An evaluation on eval.dev is done. The driver may answer with `Stop`.

    `checkpoint` is what the trial needs to go on from this evaluation; null leaves the one before in force.
    """

    key: str
    attempt: int
    measurement: Measurement
    resources: Resources
    checkpoint: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Training ended, and the best checkpoint was scored on eval.select."""

    key: str
    attempt: int
    reason: str
    best_step: int
    scores: ScoreTable
    predictions: tuple[Prediction, ...]
    adapter: AdapterFiles
    resources: Resources


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The attempt ended without a score; the slot is free.

    `neighbours` counts the other trials that were lost with the same worker: any of them may have broken it.
    `resources` is what the trial took, where somebody is left who knows.
    """

    key: str
    attempt: int
    kind: FailureKind
    message: str
    traceback: str = ""
    neighbours: int = 0
    resources: Resources | None = None


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A `Stop` was carried out; the slot is free."""

    key: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A `Score` is done."""

    key: str
    split: Split
    scores: ScoreTable
    predictions: tuple[Prediction, ...]
    resources: Resources


@dataclass(frozen=True, kw_only=True)
class Noted:
    """Something happened to the worker that its user should know, as a line for the terminal."""

    line: str


@dataclass(frozen=True, kw_only=True)
class Worked:
    """How the worker spent its time since its last such event.

    Attributes:
        seconds: by part, see `work_times.Part`; without idle ones.
        decoded_tokens: new tokens of answers that ended.
    """

    seconds: dict[str, float]
    decoded_tokens: int = 0


TrialEvent = Started | Progressed | Reported | Finished | Failed | Stopped
Event = Ready | TrialEvent | Scored | Noted | Worked
