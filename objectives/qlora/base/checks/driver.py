"""The checks of a base that a driver makes before any data is read, and those that it leaves to a worker."""

from loratory.objectives.qlora.base.architecture import Architecture, check_targets
from loratory.objectives.qlora.base.checks.adapter_loads import check_adapter_loads
from loratory.objectives.qlora.base.checks.weights import NOT_CHECKED, check_weights
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.records import Check
from loratory.spaces.study import StudySpec

# A worker asks for these by the same names, and reports them with its `Ready`.
_ON_A_WORKER = (
    Check(name="causal", detail="no token of a text may change the logits of earlier ones"),
    Check(name="packing", detail="a text must have the same logits in a pack as alone"),
    Check(name="decoding", detail="decoded places must have the logits of a full forward pass"),
)


def check_base(study: StudySpec, architecture: Architecture, reference: BaseReference) -> tuple[Check, ...]:
    """Make the checks that need no loaded weights.

    Args:
        study: gives target modules and ranks.
        architecture: the base's layers.
        reference: the base.

    Returns:
        The checks that passed, and those that need weights.

    Raises:
        InputError: a check failed.
    """
    weights = check_weights(reference) if reference.has_weights else NOT_CHECKED
    check_targets(study, architecture)
    loads = check_adapter_loads(study, architecture, reference)
    return (_decoder(architecture), weights, _targets(study, architecture), loads, *_ON_A_WORKER)


def _decoder(architecture: Architecture) -> Check:
    part = f", in its text part {architecture.text_part}" if architecture.text_part else ""
    return Check(name="decoder", passed=True, detail=f"{architecture.model_class}{part}")


def _targets(study: StudySpec, architecture: Architecture) -> Check:
    """Return the check of target modules, with the number of layers of each choice."""
    choices = dict.fromkeys(map(str, study.extremes_of("target_modules")))
    layers = len(architecture.linear_layers)
    without = f", none on {', '.join(sorted(architecture.left_out))}" if architecture.left_out else ""
    detail = f"{', '.join(choices)} of {layers} linear layers{without}"
    return Check(name="targets", passed=True, detail=detail)
