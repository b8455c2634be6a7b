"""Build the Optuna pruner of a study; its resources are evaluations of the nominal grid."""

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)

from loratory.spaces.pruners import PrunerName
from loratory.spaces.study import StudySpec


def build_pruner(study: StudySpec) -> BasePruner:
    """Build the pruner that judges the trials of a study."""
    spec = study.pruner
    match spec.name:
        case PrunerName.MEDIAN | PrunerName.PERCENTILE:
            percentile = 50.0 if spec.name is PrunerName.MEDIAN else spec.percentile
            # Optuna judges from step n_warmup_steps on; our steps begin at 1, and the warm-up is exempt.
            return PercentilePruner(
                percentile, spec.startup_trials, n_warmup_steps=spec.warmup_evaluations + 1
            )
        case PrunerName.HYPERBAND:
            return HyperbandPruner(spec.min_evaluations, study.evaluation.evaluations, spec.reduction_factor)
        case PrunerName.SUCCESSIVE_HALVING:
            return SuccessiveHalvingPruner(spec.min_evaluations, spec.reduction_factor)
        case PrunerName.PATIENT:
            with warnings.catch_warnings():
                # The pruner is marked experimental for years; a user cannot act on the warning.
                warnings.simplefilter("ignore", ExperimentalWarning)
                return PatientPruner(None, spec.patience, spec.min_delta)
        case PrunerName.NONE:
            return NopPruner()
