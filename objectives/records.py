"""The durable JSON of a trial: the contract between the four packages. Imports no torch."""

from enum import StrEnum
from typing import Any, Final, Literal

from loratory.spaces.frozen import Frozen

SCHEMA_VERSION: Final = 2


class TrialState(StrEnum):
    """Where a trial stands. Only COMPLETE trials are ranked."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    INFEASIBLE = "INFEASIBLE"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self not in (TrialState.RUNNING, TrialState.PAUSED)


class FailureKind(StrEnum):
    """Why an attempt ended without a score."""

    OOM = "oom"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    WORKER_LOST = "worker_lost"


class Resources(Frozen):
    """What a trial took so far, over all its attempts' kept work."""

    device: str = ""
    """Device name, as its driver or the operating system gives it."""
    pack_size: int = 1
    """Most trials that trained on the same base at once."""
    gpu_seconds_attributed: float = 0.0
    """Seconds of the device (GPU or CPU), each step's time shared by the tokens of the trials in it."""
    peak_memory_bytes_pack: int = 0
    """Most memory that the pack held: of the GPU, or on a CPU the process's resident set."""


class Measurement(Frozen):
    """One evaluation on eval.dev, at a point of the nominal grid."""

    step: int
    """Index on the grid, from 1 to the study's `evaluations`."""
    optimizer_steps: int
    """Updates made so far."""
    examples_seen: int
    """Training examples seen so far, repeats counted."""
    tokens_seen: int
    """Training tokens seen so far (prompt and answer, no padding), repeats counted."""
    elapsed_seconds: float
    """Time since the trial took its slot, earlier attempts included; its neighbours train meanwhile."""
    metrics: dict[str, float]
    """Metric values on eval.dev, `loss` among them."""


class CurvePoint(Frozen):
    """One optimiser step of a trial, as `curve.jsonl` keeps it."""

    optimizer_step: int
    """From 1."""
    loss: float
    """Mean token loss of the batch, in nats."""
    learning_rate: float
    """Learning rate of the step."""
    grad_norm: float
    """Global norm of the gradient before clipping."""
    tokens_seen: int
    """Training tokens seen so far, repeats counted."""


class Check(Frozen):
    """One question asked of a base, and what came of it."""

    name: str
    """What was asked, such as `weights` or `decoding`."""
    passed: bool | None = None
    """The answer; null where it could not be asked."""
    detail: str = ""
    """One line: what was found, or what is done instead and what that costs."""


class Arrangement(Frozen):
    """How a worker lays out its memory and work; null where it is not known, or the objective has no such."""

    slots: int | None = None
    """Trials that train at once."""
    tokens_per_pass: int | None = None
    """Tokens of all trials in the largest pass."""
    graphs: bool | None = None
    """Whether passes are replayed as CUDA graphs."""
    holds_base: bool | None = None
    """Whether the base is held dequantised beside its stored form."""
    gradient_checkpointing: bool | None = None
    """Whether activations are computed again in the backward pass."""
    optimizer_bits: int | None = None
    """Bits of each of the optimiser's moments."""
    decoding_rows: int | None = None
    """Prompts that are decoded at once."""


class Provenance(Frozen):
    """What would be needed to run the trial again."""

    seed: int
    """The trial's seed."""
    versions: dict[str, str] = {}
    """Package versions on the worker."""
    compute_dtype: str | None = None
    """Number format of the trial's matrix products; null for scorings and before a worker took it."""
    hashes: dict[str, str] = {}
    """Content hashes of base and data."""
    git: str | None = None
    """Commit of the working directory, with `+changes` where it had any."""
    study_created_at: str | None = None
    """UTC time at which the study began, ISO 8601: chat templates that tell the date get its date. Null of
    version 1."""
    checks: list[Check] = []
    """What the worker asked of the base before its first trial, with results; empty until a check is made."""
    arrangement: Arrangement | None = None
    """How the worker was laid out when it became ready (less, where memory ended later); null where it did
    not say, and of version 1."""


class AdapterRecord(Frozen):
    """The adapter that a finished trial kept."""

    sha256: str
    """Hash of adapter_model.safetensors."""
    size_bytes: int
    """Its size."""
    step: int
    """Grid index at which it was best on eval.dev."""


class TrialError(Frozen):
    """What went wrong in one attempt."""

    attempt: int
    """Which attempt."""
    kind: FailureKind
    """What sort of failure."""
    message: str
    """One line."""
    traceback: str = ""
    """The worker's traceback, if there was one."""


class AttemptEnd(StrEnum):
    """How an attempt ended."""

    FINISHED = "finished"
    """The trial came to its end in it: scored, or stopped by the pruner."""
    OWN_FAULT = "own_fault"
    """It failed by what the trial itself did: an error, divergence, out of memory."""
    WORKER_LOST = "worker_lost"
    """Its worker, node or network was lost."""
    PREEMPTED = "preempted"
    """Its machine was taken away with notice; not noted yet."""
    INTERRUPTED = "interrupted"
    """The driver stopped, or died."""


class Attempt(Frozen):
    """One attempt at a trial."""

    attempt: int
    """Which one, from 1."""
    started_at: str
    """UTC time at which it was handed to a worker, ISO 8601."""
    ended_at: str | None = None
    """UTC time at which it ended, ISO 8601; null while it is under way, and where the driver died with it."""
    end: AttemptEnd | None = None
    """How it ended; null while it is under way."""
    evaluations: int = 0
    """Index on the grid that the trial had reached at its end; 0 while it is under way."""


class TrialRecord(Frozen):
    """Everything durable about one trial, in `record.json` of its folder.

    The file has one field more, `checksum`: the SHA-256 of the others (versions.py).
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    study: str
    """UUID of the study."""
    key: str
    """Names the trial in its study, and its folder: `0011`; `confirm/0011-2` of a training anew."""
    number: int | None
    """Number of its row in the Optuna storage; null for a trial that has no row."""
    attempt: int = 1
    """The attempt that the measurements belong to."""
    state: TrialState = TrialState.RUNNING
    reason: str = ""
    """Why it ended as it did, in a line."""
    params: dict[str, Any]
    """Sampled values, as the study file writes them."""
    values: list[float] | None = None
    """Value on eval.select that ranks the trial; one now."""
    metrics: dict[str, float] = {}
    """Every metric on eval.select, of the best checkpoint."""
    measurements: list[Measurement] = []
    """Evaluations on eval.dev, by step."""
    resources: Resources = Resources()
    provenance: Provenance
    order: str | None = None
    """How the order of the examples follows from the seed; null before a worker took the trial, where there
    are no examples, and of version 1."""
    schedule: str | None = None
    """Shape of the learning rate after the warm-up, by its name in the study file; null of version 1."""
    optimizer_steps: int | None = None
    """Updates of the whole schedule; null before a worker took the trial, and of version 1."""
    warmup_steps: int | None = None
    """Updates in which the learning rate rises; null where `order` is."""
    adapter: AdapterRecord | None = None
    confirm_metrics: dict[str, float] = {}
    """Every metric on eval.confirm, of the best checkpoint; empty where it was not scored on it."""
    files: dict[str, str] = {}
    """SHA-256, in hex, of the files that the record speaks of, by their path in the trial's folder: adapter,
    scores, predictions. Empty until the trial is COMPLETE, and of version 1."""
    attempts: list[Attempt] = []
    """Every attempt with its end; those of version 1 were not noted."""
    error: TrialError | None = None
    """The last attempt's error, where it failed."""
    failures: list[TrialError] = []
    """Every failed attempt."""
    started_at: str | None = None
    """UTC time at which a worker first took the trial, ISO 8601."""
    finished_at: str | None = None
    """UTC time at which the state became final, ISO 8601."""

    @property
    def row(self) -> int:
        """Number of its row in the storage.

        Raises:
            LookupError: it has no row.
        """
        if self.number is None:
            raise LookupError(f"trial {self.key} must have a row in the storage, has none")
        return self.number

    @property
    def shown(self) -> str:
        """What a person calls the trial: its number where it has one, else its key."""
        return self.key if self.number is None else str(self.number)


def listing_order(record: TrialRecord) -> tuple[bool, int, str]:
    """Return a sort key: trials of the search by number, then others by key."""
    return record.number is None, record.number or 0, record.key


class ScoreRecord(Frozen):
    """One scoring outside any trial: the untuned base, or the final test of winner and base."""

    schema_version: Literal[2] = SCHEMA_VERSION
    study: str
    """UUID of the study."""
    key: str
    """What was scored, and its folder: `base`, `test/base` or `test/winner`."""
    split: str
    """`select`, `confirm` or `test`."""
    trial: str | None = None
    """Key of the trial whose adapter was scored; null for the base."""
    number: int | None = None
    """Number of that trial; null for the base, and for a trial that has no row."""
    metrics: dict[str, float]
    """Every metric on the split."""
    resources: Resources = Resources()
    provenance: Provenance
    files: dict[str, str] = {}
    """SHA-256, in hex, of scores and predictions, by name; empty of version 1."""
    scored_at: str | None = None
    """UTC time at which the scores came, ISO 8601; null of version 1."""
