"""The shape of a base, read from its configuration alone: which layers can carry an adapter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loratory.objectives.qlora.reference import BaseReference
from loratory.spaces.errors import InputError
from loratory.spaces.parameters import CategoricalParameter
from loratory.spaces.study import StudySpec

ALL_LINEAR = "all-linear"


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What the configuration of a base says.

    Attributes:
        name: the base, for messages.
        linear_layers: full module name to (inputs, outputs); the output head is not among them.
        max_positions: longest sequence that the base was made for; None where it has no limit.
    """

    name: str
    linear_layers: Mapping[str, tuple[int, int]]
    max_positions: int | None

    def targets(self, target_modules: str | tuple[str, ...]) -> tuple[str, ...]:
        """Names for PEFT's `target_modules`, sorted, each of which matches a layer.

        Args:
            target_modules: `all-linear`, or the last parts of module names.

        Raises:
            InputError: a name matches no linear layer.
        """
        known = sorted({name.rpartition(".")[2] for name in self.linear_layers})
        if target_modules == ALL_LINEAR:
            return tuple(known)
        names = (target_modules,) if isinstance(target_modules, str) else target_modules
        for name in names:
            if not self._matching(name):
                raise InputError(
                    f"target_modules: must name linear layers of {self.name}, {name!r} matches none; "
                    f"there are {', '.join(known)}"
                )
        if not names:
            raise InputError(f"target_modules: must name at least one of {', '.join(known)}, got none")
        return tuple(sorted(set(names)))

    def largest_rank(self, targets: tuple[str, ...]) -> int:
        """The rank at which the widest targeted layer's update has full rank: more adds nothing."""
        return max(min(self.linear_layers[layer]) for name in targets for layer in self._matching(name))

    def _matching(self, name: str) -> list[str]:
        return [layer for layer in self.linear_layers if layer == name or layer.endswith(f".{name}")]


def read_configuration(reference: BaseReference) -> Any:
    """The base's transformers configuration.

    Raises:
        InputError: it cannot be read.
    """
    from transformers import AutoConfig

    return _read(AutoConfig, reference, what="config.json")


def read_tokenizer(reference: BaseReference) -> Any:
    """The base's tokenizer.

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


def read_architecture(reference: BaseReference) -> Architecture:
    """The layers of a base, from a model built on the meta device, which takes no memory.

    Raises:
        InputError: it is no causal language model, is quantised already, or hides its weights from nf4
            (mixture-of-experts layers, whose 3-D parameters quantisation and adapters pass over).
    """
    import torch
    from transformers import AutoModelForCausalLM

    configuration = read_configuration(reference)
    if getattr(configuration, "quantization_config", None) is not None:
        raise InputError(f"model.base: {reference.location} must be unquantised, its weights are quantised")
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                configuration, trust_remote_code=reference.trust_remote_code
            )
    except ValueError as error:
        raise InputError(
            f"model.base: {reference.location} must be a causal language model: {_line(error)}"
        ) from error
    _refuse_experts(model, reference.location)
    head = model.get_output_embeddings()
    layers = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    if head is None or not layers:
        raise InputError(f"model.base: {reference.location} must have linear layers and an output head")
    positions = getattr(configuration.get_text_config(), "max_position_embeddings", None)
    return Architecture(name=reference.location, linear_layers=layers, max_positions=positions)


def check_targets(study: StudySpec, architecture: Architecture) -> None:
    """Refuse target modules and ranks, fixed or searched, that the base cannot carry.

    Raises:
        InputError: a name matches nothing, or a rank is beyond the widest targeted layer.
    """
    searched = study.space.root
    choices: tuple[Any, ...] = (study.training.target_modules,)
    if isinstance(parameter := searched.get("target_modules"), CategoricalParameter):
        choices = parameter.choices
    limit = min(
        architecture.largest_rank(architecture.targets(c if isinstance(c, str) else tuple(c)))
        for c in choices
    )
    ranks = searched["rank"].extremes() if "rank" in searched else (study.training.rank,)
    for rank in ranks:
        if rank > limit:
            raise InputError(
                f"rank: must be at most {limit}, the rank of the widest targeted layer of "
                f"{architecture.name}, got {rank}"
            )


def _refuse_experts(model: Any, location: str) -> None:
    for name, parameter in model.named_parameters():
        owner = model.get_submodule(name.rpartition(".")[0])
        if parameter.ndim == 3 and not type(owner).__name__.startswith("Conv"):
            raise InputError(
                f"model.base: {location} must have no mixture-of-experts layers, {name} is a 3-D parameter, "
                "which nf4 and LoRA pass over; take a dense base"
            )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
