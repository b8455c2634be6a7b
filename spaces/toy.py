"""Settings of the analytic objective: instant learning curves with a known optimum, noise and faults."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from loratory.spaces.frozen import Float, Frozen, Int


class FaultSpec(Frozen):
    """Share of trials per injected fault; the trial's seed decides which trials."""

    crash: Float = Field(default=0.0, ge=0, le=1)
    """The objective raises an exception."""
    flaky: Float = Field(default=0.0, ge=0, le=1)
    """The objective raises on its first attempt only."""
    oom: Float = Field(default=0.0, ge=0, le=1)
    """The trial runs out of memory on every device."""
    diverge: Float = Field(default=0.0, ge=0, le=1)
    """The loss becomes NaN."""
    exit: Float = Field(default=0.0, ge=0, le=1)
    """The worker's process dies on the trial's first attempt."""

    @model_validator(mode="after")
    def _sum(self) -> Self:
        total = self.crash + self.flaky + self.oom + self.diverge + self.exit
        if total > 1:
            raise ValueError(f"shares of faults must add up to at most 1, got {total:g}")
        return self


class ToyMemorySpec(Frozen):
    """Pretended device memory: a trial takes `bytes_per_rank` times its rank."""

    bytes_per_rank: Int = Field(default=0, ge=0)
    """Device memory of a trial per rank, in bytes."""
    limit_bytes: Annotated[Int, Field(ge=0)] | None = None
    """Device memory that a worker has for one trial, in bytes; null: no limit."""


class ToySpec(Frozen):
    """Settings of `objective: toy`."""

    noise: Float = Field(default=0.01, ge=0, le=1)
    """Standard deviation of the noise on each measured score."""
    examples: Int = Field(default=50, ge=1)
    """Number of scored examples per trial."""
    seconds_per_evaluation: Float = Field(default=0.0, ge=0)
    """Seconds that a worker spends on all its trials together before each evaluation."""
    evaluations_per_checkpoint: Int = Field(default=1, ge=1)
    """Evaluations per checkpoint."""
    memory: ToyMemorySpec = ToyMemorySpec()
    """Device memory of trials and workers, to try what fits no worker."""
    faults: FaultSpec = FaultSpec()
    """Faults to inject."""
