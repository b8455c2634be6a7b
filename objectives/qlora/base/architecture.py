"""The layers of a base that can carry an adapter, read from its configuration alone."""

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.base.formats.base_format import FormatWords
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.spaces.errors import InputError
from loratory.spaces.model import Quantization
from loratory.spaces.study import StudySpec

ALL_LINEAR = "all-linear"

Layers = Mapping[str, tuple[int, int]]
"""Full name of each linear layer to (inputs, outputs), in the order of the base's modules."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Facts from the configuration of a base.

    Attributes:
        name: the base, for messages.
        linear_layers: full module name to (inputs, outputs); the output head is not among them.
        max_positions: longest sequence, in tokens, that the base supports; None: no limit.
        unquantized_experts: one line on the expert weights that format and LoRA skip; None if there are none.
    """

    name: str
    linear_layers: Layers
    max_positions: int | None
    unquantized_experts: str | None = None

    def targets(self, target_modules: str | tuple[str, ...]) -> tuple[str, ...]:
        """Return sorted names for PEFT's `target_modules`, each of which matches a layer.

        Args:
            target_modules: `all-linear`, or the last parts of module names.

        Raises:
            InputError: a name matches no linear layer.
        """
        known = sorted({_last(name) for name in self.linear_layers})
        if target_modules == ALL_LINEAR:
            return tuple(known)
        names = (target_modules,) if isinstance(target_modules, str) else target_modules
        for name in names:
            if not self.layers_of((name,)):
                raise InputError(
                    "space.target_modules or training.target_modules: must name linear layers of "
                    f"{self.name}, {name!r} matches none; there are {', '.join(known)}"
                )
        if not names:
            raise InputError(
                "space.target_modules or training.target_modules: must name at least one of "
                f"{', '.join(known)}, got none"
            )
        return tuple(sorted(set(names)))

    def largest_rank(self, targets: tuple[str, ...]) -> int:
        """Return the rank at which the widest targeted layer's update has full rank: more adds nothing."""
        return max(map(min, self.layers_of(targets).values()))

    def layers_of(self, targets: tuple[str, ...]) -> dict[str, tuple[int, int]]:
        """Return names and sizes of the layers that targets match, in the order of the base's modules."""
        return matching(self.linear_layers, targets)


def matching(layers: Layers, targets: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Select the layers that a target names, in full or by the last parts, as in PEFT; keep their order."""
    ends = tuple(f".{target}" for target in targets)
    return {layer: size for layer, size in layers.items() if layer in targets or layer.endswith(ends)}


def read_configuration(reference: BaseReference) -> Any:
    """Read the base's transformers configuration.

    Raises:
        InputError: it cannot be read.
    """
    from transformers import AutoConfig

    return _read(AutoConfig, reference, what="config.json")


def read_tokenizer(reference: BaseReference) -> Any:
    """Load the base's tokenizer.

    Raises:
        InputError: it cannot be read.
    """
    from transformers import AutoTokenizer

    return _read(AutoTokenizer, reference, what="tokenizer")


def _read(kind: Any, reference: BaseReference, *, what: str) -> Any:
    try:
        return kind.from_pretrained(
            reference.source, revision=reference.revision, trust_remote_code=reference.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"model.base: {reference.location} must have a readable {what}: {_line(error)}"
        ) from error


def read_architecture(
    reference: BaseReference,
    *,
    quantization: Quantization = Quantization.NF4,
    allow_unquantized_experts: bool = False,
) -> Architecture:
    """Return the layers of a base, from a model built on the meta device, which takes no memory.

    Args:
        reference: the base.
        quantization: the format to load it in.
        allow_unquantized_experts: accept a base with experts that format and LoRA skip.

    Raises:
        InputError: the base is no causal language model, is quantised already, or holds experts in 3-D
            parameters, which format and LoRA skip, without `allow_unquantized_experts`.
    """
    configuration = read_configuration(reference)
    model = _model_without_weights(configuration, reference)
    words = format_of(quantization).words
    layers, experts = _layers_and_experts(model, reference.location, words)
    if experts is not None and not allow_unquantized_experts:
        raise InputError(
            f"model.base: must hold its weights in linear layers, where {words.reach} them; {experts}; "
            "take a dense base, or set model.allow_unquantized_experts to true"
        )
    positions = getattr(configuration.get_text_config(), "max_position_embeddings", None)
    return Architecture(
        name=reference.location,
        linear_layers=layers,
        max_positions=positions,
        unquantized_experts=experts,
    )


def check_targets(study: StudySpec, architecture: Architecture) -> None:
    """Refuse target modules and ranks, fixed or searched, that the base cannot carry.

    Raises:
        InputError: a name matches no layer, or a rank exceeds that of the widest targeted layer.
    """
    limit = min(
        architecture.largest_rank(architecture.targets(c if isinstance(c, str) else tuple(c)))
        for c in study.extremes_of("target_modules")
    )
    for rank in study.extremes_of("rank"):
        if rank > limit:
            raise InputError(
                f"space.rank or training.rank: must be at most {limit}, which gives the widest targeted "
                f"layer of {architecture.name} its full rank, got {rank}"
            )


def _model_without_weights(configuration: Any, reference: BaseReference) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    if getattr(configuration, "quantization_config", None) is not None:
        raise InputError(f"model.base: {reference.location} must be unquantised, its weights are quantised")
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                configuration, trust_remote_code=reference.trust_remote_code
            )
    except ValueError as error:
        raise InputError(
            f"model.base: {reference.location} must be a causal language model: {_line(error)}"
        ) from error


def _layers_and_experts(
    model: Any, location: str, words: FormatWords
) -> tuple[dict[str, tuple[int, int]], str | None]:
    layers = _linear_layers(model, location)
    experts = _unquantized_experts(model, location, words)
    if experts is None:
        return layers, None
    kept = _kept_by_peft(model, layers)
    lost = sorted({_last(name) for name in layers} - kept)
    if lost:
        experts += f"; nor are layers named {', '.join(lost)} adapted: PEFT takes these names for experts"
    return {name: sizes for name, sizes in layers.items() if _last(name) in kept}, experts


def _linear_layers(model: Any, location: str) -> dict[str, tuple[int, int]]:
    head = model.get_output_embeddings()
    layers = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if _is_linear(module) and module is not head
    }
    if head is None or not layers:
        raise InputError(f"model.base: {location} must have linear layers and an output head")
    return layers


def _is_linear(module: Any) -> bool:
    """Return True for linear layers, but not for routers derived from them.

    nf4 skips such routers, and LoRA fails on the tuple that they return.
    """
    import torch

    return isinstance(module, torch.nn.Linear) and not type(module).__name__.endswith("Router")


def _unquantized_experts(model: Any, location: str, words: FormatWords) -> str | None:
    parameters = _outside_layers(model)
    if all(parameter.ndim < 3 for parameter in parameters.values()):
        return None
    names = sorted({re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in parameters})
    count = sum(parameter.numel() for parameter in parameters.values())
    share = count / sum(parameter.numel() for parameter in model.parameters())
    return (
        f"{', '.join(names)} of {location} are {words.passed_over}: "
        f"{share:.1%} of all parameters, {2 * count / 2**30:,.1f} GiB in bf16"
    )


def _outside_layers(model: Any) -> dict[str, Any]:
    """Return parameters of two or more dimensions outside of layers: experts, their biases, routers."""
    import torch

    found = {}
    for name, parameter in model.named_parameters():
        owner = model.get_submodule(name.rpartition(".")[0])
        layer = _is_linear(owner) or isinstance(owner, torch.nn.Embedding)
        if parameter.ndim > 1 and not layer and not type(owner).__name__.startswith("Conv"):
            found[name] = parameter
    return found


def _kept_by_peft(model: Any, layers: Iterable[str]) -> set[str]:
    """Return the names in `layers` that PEFT reads as layers.

    If experts were linear layers in transformers 4, PEFT maps their names (`gate_proj`) to the experts' 3-D
    parameters, and skips layers that have these names now, such as a dense layer or a shared expert.
    The call changes `model`, so the caller must not use it again.
    """
    from peft import LoraConfig
    from peft.functional import inject_adapter_in_model

    config = LoraConfig(r=1, target_modules=sorted({_last(name) for name in layers}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inject_adapter_in_model(config, model, low_cpu_mem_usage=True)
    return set(config.target_modules)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
