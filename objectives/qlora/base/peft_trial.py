"""The layers that PEFT adapts in a model, found by letting it do so."""

import copy
import warnings
from collections.abc import Iterable
from typing import Any

from loratory.objectives.qlora.base.names import last_part, unambiguous

REFUSALS = (ValueError, TypeError, NotImplementedError)
"""Errors by which PEFT refuses a layer."""


def try_with_peft(model: Any, layers: Iterable[str]) -> tuple[set[str], dict[str, str]]:
    """Find out which layers PEFT adapts, and which it refuses.

    PEFT refuses some names by the type of the model. If experts were linear layers in transformers 4, it maps
    their names (`gate_proj`) to the experts' 3-D parameters, and skips layers that have these names now, such
    as a dense layer or a shared expert.

    Args:
        model: a model on the meta device; it stays as it is.
        layers: full names of its linear layers.

    Returns:
        Full names of the adapted layers, and the last part of each refused name with a reason in words.
    """
    by_name: dict[str, list[str]] = {}
    for layer in layers:
        by_name.setdefault(last_part(layer), []).append(layer)
    try:
        return _adapted(model, by_name), {}
    except REFUSALS:
        reasons = {name: _refusal(model, name, named) for name, named in by_name.items()}
    refused = {name: reason for name, reason in reasons.items() if reason is not None}
    accepted = {name: named for name, named in by_name.items() if name not in refused}
    return (_adapted(model, accepted) if accepted else set()), refused


def _refusal(model: Any, name: str, layers: list[str]) -> str | None:
    try:
        _adapted(model, {name: layers})
    except REFUSALS:
        return f"PEFT refuses it on {model.config.model_type}"
    return None


def _adapted(model: Any, by_name: dict[str, list[str]]) -> set[str]:
    """Return the layers that PEFT adapts where it is given these names."""
    from peft import LoraConfig
    from peft.functional import inject_adapter_in_model

    wanted = {layer for layers in by_name.values() for layer in layers}
    others = [name for name, _ in model.named_modules() if name not in wanted]
    targets = {t for name, layers in by_name.items() for t in unambiguous(name, layers, others)}
    tried = copy.deepcopy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inject_adapter_in_model(
            LoraConfig(r=1, target_modules=sorted(targets)), tried, low_cpu_mem_usage=True
        )
    return wanted & {name for name, module in tried.named_modules() if hasattr(module, "lora_A")}
