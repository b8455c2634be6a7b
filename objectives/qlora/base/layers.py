"""The linear layers of a model that can carry an adapter, and those that cannot, with the reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loratory.objectives.qlora.base.formats.base_format import FormatWords
from loratory.objectives.qlora.base.names import Layers, last_part
from loratory.objectives.qlora.base.peft_trial import try_with_peft
from loratory.spaces.errors import InputError

# Parts of module names that a text never passes.
_TOWER = re.compile(r"vision|visual|image|video|audio|speech|cross_att")
_ROUTER = re.compile(r"(.+_)?router")
# Names of the number of experts in configurations; a gate with as many outputs is a router.
_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


@dataclass(frozen=True, kw_only=True)
class FoundLayers:
    """The layers of a model.

    Attributes:
        linear: the layers that can carry an adapter.
        left_out: last part of the name of a linear layer that cannot, to the reason.
        others: full names of all modules that carry none.
        text_part: full name of the module that texts pass, where the model has others too.
        experts: one line on the expert weights that format and LoRA skip; None if there are none.
    """

    linear: Layers
    left_out: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    text_part: str | None = None
    experts: str | None = None


def find_layers(model: Any, location: str, words: FormatWords) -> FoundLayers:
    """Find the layers of a model that can carry an adapter.

    Args:
        model: a causal language model of transformers, on any device.
        location: the base, for messages.
        words: of the base's format.

    Raises:
        InputError: the model has no such layers or no output head, or PEFT accepts none of them.
    """
    text_part = find_text_part(model)
    layers, left_out = linear_layers(model, location, text_part)
    experts = _unquantized_experts(model, location, words, text_part)
    adapted, refused = try_with_peft(model, layers)
    if not adapted:
        raise InputError(
            f"model.base: PEFT must accept layers of {location}, refuses all: "
            f"{'; '.join(dict.fromkeys(refused.values()))}; take another base"
        )
    lost = sorted({last_part(name) for name in layers if name not in adapted} - set(refused))
    if experts is not None and lost:
        experts += f"; nor are layers named {', '.join(lost)} adapted: PEFT takes these names for experts"
    linear = {name: sizes for name, sizes in layers.items() if name in adapted}
    return FoundLayers(
        linear=linear,
        left_out=left_out | refused,
        others=tuple(name for name, _ in model.named_modules() if name and name not in linear),
        text_part=text_part or None,
        experts=experts,
    )


def find_text_part(model: Any) -> str:
    """Return the full name of a multimodal model's text part; an empty text for a text model."""
    if model.config.get_text_config() is model.config:
        return ""
    decoder = model.get_decoder()
    return next((name for name, module in model.named_modules() if module is decoder), "")


def linear_layers(
    model: Any, location: str, text_part: str
) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Return linear layers of the text part, without head and routers, and the names of the routers."""
    head = model.get_output_embeddings()
    experts = {getattr(model.config.get_text_config(), count, None) for count in _EXPERT_COUNTS}
    layers, routers = {}, {}
    for name, module in model.named_modules():
        if module is head or not _is_linear(module) or _is_outside(name, text_part):
            continue
        if _is_router(name, module, experts):
            routers[last_part(name)] = "a router"
        else:
            layers[name] = (module.in_features, module.out_features)
    if head is None or not layers:
        raise InputError(
            f"model.base: {location} must have linear layers and an output head{_instead(model)}"
        )
    return layers, routers


def _instead(model: Any) -> str:
    kinds = {type(module).__name__ for module in model.modules()}
    return ", has GPT-2's Conv1D; take a base with linear layers" if "Conv1D" in kinds else ""


def _is_linear(module: Any) -> bool:
    """Return True for linear layers, but not for routers derived from them.

    nf4 skips such routers, and LoRA fails on the tuple that they return.
    """
    import torch

    return isinstance(module, torch.nn.Linear) and not type(module).__name__.endswith("Router")


def _is_router(name: str, module: Any, experts: set[int | None]) -> bool:
    if any(_ROUTER.fullmatch(part) for part in name.split(".")):
        return True
    return last_part(name) == "gate" and module.out_features in experts


def _is_outside(name: str, text_part: str) -> bool:
    """Return True for a module that a text never passes: one of a tower for images or sound."""
    inside = not text_part or name == text_part or name.startswith(f"{text_part}.")
    return not inside or _TOWER.search(name.removeprefix(text_part)) is not None


def _unquantized_experts(model: Any, location: str, words: FormatWords, text_part: str) -> str | None:
    parameters = _outside_layers(model, text_part)
    if all(parameter.ndim < 3 for parameter in parameters.values()):
        return None
    names = sorted({re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in parameters})
    count = sum(parameter.numel() for parameter in parameters.values())
    share = count / sum(parameter.numel() for parameter in model.parameters())
    return (
        f"{', '.join(names)} of {location} are {words.passed_over}: "
        f"{share:.1%} of all parameters, {2 * count / 2**30:,.1f} GiB in bf16"
    )


def _outside_layers(model: Any, text_part: str) -> dict[str, Any]:
    """Return parameters of two or more dimensions outside of layers: experts, their biases, routers."""
    import torch

    found = {}
    for name, parameter in model.named_parameters():
        owner = model.get_submodule(name.rpartition(".")[0])
        layer = _is_linear(owner) or isinstance(owner, torch.nn.Embedding)
        if layer or parameter.ndim < 2 or type(owner).__name__.startswith("Conv"):
            continue
        if not _is_outside(name, text_part):
            found[name] = parameter
    return found
