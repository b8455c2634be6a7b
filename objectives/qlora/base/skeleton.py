"""The class of a base, and a model of that class on the meta device, which takes no memory."""

from typing import Any

from loratory.objectives.qlora.base.reference import BaseReference
from loratory.spaces.errors import InputError

# Tried in this order for a release with more than text.
_MULTIMODAL = ("AutoModelForImageTextToText", "AutoModelForMultimodalLM")


def model_loader(configuration: Any) -> Any:
    """Return the auto class of transformers that loads a base as the class it was published with.

    Adapters name layers by their place in that class: that of a multimodal release has its text part in
    `language_model`, and `AutoModelForCausalLM` loads some releases without it, and others not at all.

    Args:
        configuration: the base's transformers configuration.
    """
    import transformers

    published = (configuration.architectures or [None])[0]
    causal = _classes(transformers.AutoModelForCausalLM, configuration)
    if published not in causal:
        for name in _MULTIMODAL:
            loader = getattr(transformers, name, None)  # the second came with transformers 5
            found = _classes(loader, configuration) if loader is not None else set()
            if published in found or (found and not causal):
                return loader
    return transformers.AutoModelForCausalLM


def build_skeleton(configuration: Any, reference: BaseReference) -> Any:
    """Return a model without weights, on the meta device.

    Raises:
        InputError: the base is no language model, or none can be built from its configuration.
    """
    import torch

    try:
        with torch.device("meta"):
            return model_loader(configuration).from_config(
                configuration, trust_remote_code=reference.trust_remote_code
            )
    except ValueError as error:
        raise InputError(
            f"model.base: {reference.location} must be a causal language model: {in_one_line(error)}"
        ) from error
    except Exception as error:  # of any class, since configurations hold any value, and bases bring code
        raise InputError(
            f"model.base: {reference.location} must have a config.json that a model can be built from: "
            f"{in_one_line(error)}"
        ) from error


def auto_mapping(configuration: Any, model: Any) -> dict[str, str] | None:
    """Return class and module of a model as PEFT records them; None if `AutoModelForCausalLM` loads it."""
    from transformers import AutoModelForCausalLM

    if model_loader(configuration) is AutoModelForCausalLM:
        return None
    kind = type(model)
    return {"base_model_class": kind.__name__, "parent_library": kind.__module__}


def in_one_line(error: Exception) -> str:
    """Return the beginning of an error's text in one line, with its class where the text says little."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, OSError | ValueError) and text else f"{type(error).__name__}: {text}"


def _classes(loader: Any, configuration: Any) -> set[str]:
    """Return the names of the classes that an auto class has for a configuration."""
    kind = type(configuration)
    if kind not in loader._model_mapping:
        return set()
    found = loader._model_mapping[kind]
    return {model.__name__ for model in (found if isinstance(found, tuple) else (found,))}
