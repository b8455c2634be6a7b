"""What loading, packs, memory and model cards ask of a base's number format. It imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loratory.spaces.model import ModelSpec

if TYPE_CHECKING:
    import torch

    from loratory.objectives.packing.linear import FrozenWeight


@dataclass(frozen=True, kw_only=True)
class FormatWords:
    """What people are told of a format.

    Attributes:
        method: how an adapter was trained, after "trained with".
        tags: of a model card, beside those that every adapter has.
        reach: what has to reach a weight, as "nf4 and LoRA reach".
        passed_over: what a weight is that they do not reach, as "neither quantised nor adapted".
        scored_on: sentences for a model card: the base that the adapter was trained and scored on.
    """

    method: str
    tags: tuple[str, ...]
    reach: str
    passed_over: str
    scored_on: str


@dataclass(frozen=True, kw_only=True)
class LoadingCode:
    """Parts of Python code that loads a base in a format; `dtype` is a variable of that code.

    Attributes:
        imports: names from transformers, beside those that every base needs.
        setup: statements before the base is loaded, each with its line break.
        argument: of `from_pretrained`, with a comma and a space behind it; empty where there is none.
    """

    imports: tuple[str, ...] = ()
    setup: str = ""
    argument: str = ""


@dataclass(frozen=True, kw_only=True)
class BaseFormat:
    """A number format of the frozen linear layers of a base.

    Attributes:
        words: for messages and model cards.
        packages: whose versions decide a trial's numbers, beside those of every trial.
        loading_code: code for a model card that loads a base as trials had it.
        loading_options: arguments of `from_pretrained`, from settings and compute dtype.
        prepare: what a loaded model needs before its first pass; changes it in place.
        frozen_weight: a linear layer's matrix, as a pack reads it in the compute dtype.
        bytes_per_weight: memory of a linear layer per weight, from settings and bytes of the compute dtype.
    """

    words: FormatWords
    packages: tuple[str, ...]
    loading_code: Callable[[ModelSpec], LoadingCode]
    loading_options: Callable[[ModelSpec, "torch.dtype"], dict[str, Any]]
    prepare: Callable[[Any], None]
    frozen_weight: Callable[[Any, "torch.dtype"], "FrozenWeight"]
    bytes_per_weight: Callable[[ModelSpec, int], float]
