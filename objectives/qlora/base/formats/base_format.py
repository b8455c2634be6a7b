"""Interface of a base's number format for loading, packs, memory and model cards. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loratory.spaces.model import ModelSpec

if TYPE_CHECKING:
    import torch

    from loratory.objectives.packing.linear import FrozenWeight


@dataclass(frozen=True, kw_only=True)
class FormatWords:
    """Phrases that describe a format to people.

    Attributes:
        method: training method of an adapter, to follow "trained with".
        tags: tags of a model card, besides those of every adapter.
        reach: subject and verb for weights that format and LoRA handle, as "nf4 and LoRA reach".
        passed_over: description of the other weights, as "neither quantised nor adapted".
        scored_on: sentences for a model card on the base that the adapter was trained and scored on.
    """

    method: str
    tags: tuple[str, ...]
    reach: str
    passed_over: str
    scored_on: str


@dataclass(frozen=True, kw_only=True)
class LoadingCode:
    """Parts of Python code that loads a base in a format. The code defines a variable `dtype`.

    Attributes:
        imports: names imported from transformers, besides those that every base needs.
        setup: statements before the base is loaded, each with its line break.
        argument: argument of `from_pretrained`, followed by a comma and a space; empty if there is none.
    """

    imports: tuple[str, ...] = ()
    setup: str = ""
    argument: str = ""


@dataclass(frozen=True, kw_only=True)
class BaseFormat:
    """A number format of the frozen linear layers of a base.

    Attributes:
        words: for messages and model cards.
        packages: packages that influence results, besides those of every trial; records list versions.
        loading_code: code for a model card that loads the base as trials used it.
        loading_options: arguments of `from_pretrained`, from settings and compute dtype.
        prepare: prepares a loaded model for its first pass, in place.
        frozen_weight: returns a linear layer's matrix as a pack reads it, in the compute dtype.
        bytes_per_weight: memory per weight of a linear layer, from settings and bytes of the compute dtype.
    """

    words: FormatWords
    packages: tuple[str, ...]
    loading_code: Callable[[ModelSpec], LoadingCode]
    loading_options: Callable[[ModelSpec, "torch.dtype"], dict[str, Any]]
    prepare: Callable[[Any], None]
    frozen_weight: Callable[[Any, "torch.dtype"], "FrozenWeight"]
    bytes_per_weight: Callable[[ModelSpec, int], float]
