"""The durable JSON of a trial: the contract between the four packages. Imports no torch."""

from enum import StrEnum
from typing import Any, Final, Literal

from loratory.spaces.frozen import Frozen

SCHEMA_VERSION: Final = 1


class TrialState(StrEnum):
    """Where a trial stands. Only COMPLETE trials are ranked."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    INFEASIBLE = "INFEASIBLE"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self is not TrialState.RUNNING


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


class TrialRecord(Frozen):
    """Everything durable about one trial, in `trials/NNNN/record.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
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
    adapter: AdapterRecord | None = None
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

    schema_version: Literal[1] = SCHEMA_VERSION
    study: str
    """UUID of the study."""
    key: str
    """What was scored: `base`, `test/base` or `test/winner`."""
    split: str
    """`select` or `test`."""
    number: int | None = None
    """The trial whose adapter was scored; null for the base."""
    metrics: dict[str, float]
    """Every metric on the split."""
    resources: Resources = Resources()
    provenance: Provenance
