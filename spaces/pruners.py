"""Section `pruner` of the study file: how unpromising trials are stopped."""

from enum import StrEnum

from pydantic import Field

from loratory.spaces.frozen import Float, Int, NamedSpec


class PrunerName(StrEnum):
    """Optuna pruners that a study file may name."""

    MEDIAN = "median"
    PERCENTILE = "percentile"
    HYPERBAND = "hyperband"
    SUCCESSIVE_HALVING = "successive_halving"
    PATIENT = "patient"
    NONE = "none"


class PrunerSpec(NamedSpec):
    """A pruner, or its name alone. Resources are counted in evaluations of the nominal grid."""

    name: PrunerName = PrunerName.MEDIAN
    """median, percentile, hyperband, successive_halving, patient or none."""
    startup_trials: Int = Field(default=5, ge=0)
    """median and percentile: finished trials before anything is pruned."""
    warmup_evaluations: Int = Field(default=1, ge=0)
    """median and percentile: evaluations of a trial before it may be pruned."""
    percentile: Float = Field(default=25.0, gt=0, lt=100)
    """percentile: keep a trial while it is among this percentage of the best."""
    reduction_factor: Int = Field(default=3, ge=2)
    """hyperband and successive_halving: one in this many trials goes on to the next rung."""
    min_evaluations: Int = Field(default=1, ge=1)
    """hyperband and successive_halving: evaluations before the first rung."""
    patience: Int = Field(default=2, ge=0)
    """patient: evaluations without improvement before a trial is pruned."""
    min_delta: Float = Field(default=0.0, ge=0)
    """patient: smallest change that counts as improvement."""
