"""The JSON records of trials and scorings, which all four packages share. Imports no torch."""

from enum import StrEnum
from typing import Any, Final, Literal

from loratory.spaces.frozen import Frozen

SCHEMA_VERSION: Final = 2


class TrialState(StrEnum):
    """State of a trial. Only COMPLETE trials are ranked."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    INFEASIBLE = "INFEASIBLE"

    @property
    def finished(self) -> bool:
        """True if the state is final."""
        return self not in (TrialState.RUNNING, TrialState.PAUSED)


class FailureKind(StrEnum):
    """Reason why an attempt ended without a score."""

    OOM = "oom"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    WORKER_LOST = "worker_lost"


class Resources(Frozen):
    """Resources that a trial has used so far, summed over the kept work of all attempts."""

    device: str = ""
    """Device name, as its driver or the operating system gives it."""
    pack_size: int = 1
    """Largest number of trials that trained on the same base at once."""
    gpu_seconds_attributed: float = 0.0
    """Device seconds (GPU or CPU); the time of each step is shared by tokens among its trials."""
    peak_memory_bytes_pack: int = 0
    """Peak memory in bytes: of the pack on a GPU, or of the process (resident set) on a CPU."""


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
    """Seconds since the trial took its slot, earlier attempts included; other trials train meanwhile."""
    metrics: dict[str, float]
    """Metric values on eval.dev, `loss` among them."""


class CurvePoint(Frozen):
    """One optimiser step of a trial, a line of `curve.jsonl`."""

    optimizer_step: int
    """Number of the step, from 1."""
    loss: float
    """Mean token loss of the batch, in nats."""
    learning_rate: float
    """Learning rate of the step."""
    grad_norm: float
    """Global norm of the gradient before clipping."""
    tokens_seen: int
    """Training tokens seen so far, repeats counted."""


class Check(Frozen):
    """One check of a base, with its result."""

    name: str
    """Name of the check, such as `weights` or `decoding`."""
    passed: bool | None = None
    """Result; null if the check could not be made."""
    detail: str = ""
    """One line: the finding, or the fallback and its cost."""


class Arrangement(Frozen):
    """Sizes and settings of a worker; null where unknown, or where the objective has no such setting."""

    slots: int | None = None
    """Number of trials that train at once."""
    tokens_per_pass: int | None = None
    """Largest number of tokens in a pass, over all trials."""
    graphs: bool | None = None
    """True if passes are replayed as CUDA graphs."""
    holds_base: bool | None = None
    """True if a dequantised copy of the base is held."""
    gradient_checkpointing: bool | None = None
    """True if activations are recomputed in the backward pass."""
    optimizer_bits: int | None = None
    """Bits of each of the optimiser's moments."""
    decoding_rows: int | None = None
    """Number of prompts decoded at once."""


class Provenance(Frozen):
    """Facts needed to run the trial again."""

    seed: int
    """The trial's seed."""
    versions: dict[str, str] = {}
    """Package versions on the worker."""
    compute_dtype: str | None = None
    """Number format of the trial's matrix products; null for scorings, and before a worker took the trial."""
    hashes: dict[str, str] = {}
    """Content hashes of base and data."""
    git: str | None = None
    """Commit of the working directory, with `+changes` if there were uncommitted ones."""
    study_created_at: str | None = None
    """UTC time at which the study began, ISO 8601; chat templates that state the date use its date. Null in
    records of version 1."""
    checks: list[Check] = []
    """Checks of the base on the worker before its first trial; empty until a check is made."""
    arrangement: Arrangement | None = None
    """How the worker was laid out when it became ready (less, where memory ended later); null where it did
    not say, and of version 1."""


class AdapterRecord(Frozen):
    """The adapter that a finished trial kept."""

    sha256: str
    """Hash of adapter_model.safetensors."""
    size_bytes: int
    """Size of adapter_model.safetensors."""
    step: int
    """Grid index of the best measurement on eval.dev, at which the adapter was kept."""
    removed: str | None = None
    """Why its files were deleted later; null while they are kept."""


class TrialError(Frozen):
    """The error of one attempt."""

    attempt: int
    """Number of the attempt, from 1."""
    kind: FailureKind
    """Kind of failure."""
    message: str
    """Message in one line."""
    traceback: str = ""
    """The worker's traceback, if there was one."""


class AttemptEnd(StrEnum):
    """End of an attempt."""

    FINISHED = "finished"
    """The trial finished in it: scored, or stopped by the pruner."""
    OWN_FAULT = "own_fault"
    """The trial itself failed: an error, divergence, or out of memory."""
    WORKER_LOST = "worker_lost"
    """Its worker, node or network was lost."""
    PREEMPTED = "preempted"
    """Its machine was taken away with notice; not recorded yet."""
    INTERRUPTED = "interrupted"
    """The driver stopped or died."""


class Attempt(Frozen):
    """One attempt at a trial."""

    attempt: int
    """Number of the attempt, from 1."""
    started_at: str
    """UTC time at which it was handed to a worker, ISO 8601."""
    ended_at: str | None = None
    """UTC time at which it ended, ISO 8601; null while it runs, and if the driver died during it."""
    end: AttemptEnd | None = None
    """Kind of end; null while the attempt runs."""
    evaluations: int = 0
    """Grid index that the trial had reached when the attempt ended; 0 while it runs."""


class TrialRecord(Frozen):
    """Everything durable about one trial, in `record.json` of its folder.

    The file has one more field, `checksum`: the SHA-256 of the others (versions.py).
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    study: str
    """UUID of the study."""
    key: str
    """Name of the trial in its study and of its folder: `0011`; `confirm/0011-2` for a repeated training."""
    number: int | None
    """Number of the trial's row in the Optuna storage; null if it has none."""
    attempt: int = 1
    """The attempt that the measurements belong to; 0 for a trial that no worker was given."""
    state: TrialState = TrialState.RUNNING
    reason: str = ""
    """One line on why the trial ended in its state."""
    params: dict[str, Any]
    """Sampled values, as the study file writes them."""
    values: list[float] | None = None
    """Values on eval.select that rank the trial; a list of one at present."""
    metrics: dict[str, float] = {}
    """Every metric of the best checkpoint on eval.select."""
    measurements: list[Measurement] = []
    """Evaluations on eval.dev, by step."""
    resources: Resources = Resources()
    provenance: Provenance
    order: str | None = None
    """Rule for the order of the examples from the seed; null before a worker took the trial, without
    examples, and in records of version 1."""
    schedule: str | None = None
    """Learning rate schedule after the warm-up, as in the study file; null in records of version 1."""
    optimizer_steps: int | None = None
    """Updates in the whole schedule; null before a worker took the trial, and in records of version 1."""
    warmup_steps: int | None = None
    """Updates in which the learning rate rises; null where `order` is null."""
    memory_excess: float | None = None
    """Predicted device memory above what the largest worker has for a trial, as a share of that: 0.5 where a
    trial needs 12 GiB of 8. Null unless the trial was predicted to fit no worker (INFEASIBLE)."""
    adapter: AdapterRecord | None = None
    confirm_metrics: dict[str, float] = {}
    """Every metric of the best checkpoint on eval.confirm; empty if it was not scored there."""
    files: dict[str, str] = {}
    """SHA-256, in hex, of adapter, scores and predictions, by path in the trial's folder. Empty until the
    trial is COMPLETE, and in records of version 1."""
    attempts: list[Attempt] = []
    """Every attempt with its end; empty in records of version 1."""
    error: TrialError | None = None
    """Error of the last attempt, if it failed."""
    failures: list[TrialError] = []
    """Errors of all failed attempts."""
    started_at: str | None = None
    """UTC time at which a worker first took the trial, ISO 8601."""
    finished_at: str | None = None
    """UTC time at which the state became final, ISO 8601."""

    @property
    def row(self) -> int:
        """Number of the trial's row in the storage.

        Raises:
            LookupError: the trial has no row.
        """
        if self.number is None:
            raise LookupError(f"trial {self.key} must have a row in the storage, has none")
        return self.number

    @property
    def retrained(self) -> bool:
        """True if it is a training of another trial's settings on a new seed, and no trial of the search."""
        return self.number is None

    @property
    def never_started(self) -> bool:
        """True if no worker was given the trial, because it was predicted to fit none."""
        return self.memory_excess is not None and not self.attempts

    @property
    def shown(self) -> str:
        """Name of the trial for people: its number if it has one, else its key."""
        return self.key if self.number is None else str(self.number)


def listing_order(record: TrialRecord) -> tuple[bool, int, str]:
    """Return a sort key: trials of the search by number, then others by key."""
    return record.number is None, record.number or 0, record.key


class ScoreRecord(Frozen):
    """One scoring outside any trial: of the untuned base, the best trials on confirm, the winner on test."""

    schema_version: Literal[2] = SCHEMA_VERSION
    study: str
    """UUID of the study."""
    key: str
    """Name of the scoring and of its folder: `base`, `confirm/base`, `confirm/0011`, `test/winner`, ..."""
    split: str
    """`select`, `confirm` or `test`."""
    trial: str | None = None
    """Key of the trial that the scored adapter is from; null for the base."""
    number: int | None = None
    """Number of that trial; null for the base, and for a trial that has no row."""
    metrics: dict[str, float]
    """Every metric on the split."""
    resources: Resources = Resources()
    provenance: Provenance
    files: dict[str, str] = {}
    """SHA-256, in hex, of scores and predictions, by name; empty in records of version 1."""
    scored_at: str | None = None
    """UTC time at which the scores arrived, ISO 8601; null in records of version 1."""

    @property
    def shown(self) -> str | None:
        """Name of the trial for people: its number if it has one, else its key; None for the base."""
        return self.trial if self.number is None else str(self.number)
