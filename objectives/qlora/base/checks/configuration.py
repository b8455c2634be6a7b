"""Bases that are refused for their configuration alone: one table of reasons."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from loratory.spaces.errors import InputError

_OTHER_HEAD = re.compile(r"(Classification|QuestionAnswering|MultipleChoice|RewardModel)$")
_SIZES = ("num_hidden_layers", "hidden_size", "vocab_size")
_MOST_LAYERS = 1000  # of a base that is no mistake: Llama 3.1 405B, deep among those published, has 126
# Their configurations have `is_decoder` from BERT's, but no code reads it: they are always causal.
_CAUSAL_ANYWAY = {"gpt_neox", "gpt_neox_japanese"}


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A kind of base that cannot be tuned.

    Attributes:
        applies: returns True for configurations of this kind, whole or of the text part.
        rule: what a base must be, to follow "must be".
        finding: what this one is; `{kind}` is its model type.
        remedy: what to do.
    """

    applies: Callable[[Any], bool]
    rule: str
    finding: str
    remedy: str


def _is_quantized(configuration: Any) -> bool:
    return getattr(configuration, "quantization_config", None) is not None


def _has_other_head(configuration: Any) -> bool:
    """Return True for a model that was saved with a head for labels or spans; its language head is unused."""
    published = (getattr(configuration, "architectures", None) or [""])[0]
    return _OTHER_HEAD.search(published) is not None


def _is_encoder_decoder(configuration: Any) -> bool:
    return bool(getattr(configuration, "is_encoder_decoder", False))


def _is_encoder(configuration: Any) -> bool:
    """Return True for BERT and its kind, which attend in both directions unless `is_decoder` is true.

    The value counts only where the class declares it: old files have it for models that do not read it.
    """
    kind = type(configuration)
    declared = is_dataclass(kind) and any(field.name == "is_decoder" for field in fields(kind))
    return declared and not configuration.is_decoder and configuration.model_type not in _CAUSAL_ANYWAY


def _attends_both_ways(configuration: Any) -> bool:
    """Return True for decoders that were turned into encoders, as embedding models are."""
    return (
        getattr(configuration, "is_causal", None) is False
        or getattr(configuration, "use_bidirectional_attention", None) in (True, "all")
        or (configuration.model_type in ("xlm", "flaubert") and not configuration.causal)
        or (configuration.model_type == "xlnet" and configuration.attn_type == "bi")
    )


REASONS = (
    Reason(
        applies=_is_quantized,
        rule="unquantised",
        finding="config.json says that its weights are quantised (quantization_config)",
        remedy="take the release that it was made from, or remove the entry if the weights are not",
    ),
    Reason(
        applies=_has_other_head,
        rule="a causal language model",
        finding="this {kind} was saved with a head for labels or rewards (architectures in config.json)",
        remedy="take the language model that it was made from",
    ),
    Reason(
        applies=_is_encoder_decoder,
        rule="a causal language model, a decoder alone",
        finding="{kind} is an encoder-decoder",
        remedy="take a decoder, such as a Llama or a Qwen",
    ),
    Reason(
        applies=_is_encoder,
        rule="a causal language model",
        finding="{kind} with is_decoder: false is an encoder, in which tokens see those that follow them",
        remedy="take a decoder, such as a Llama or a Qwen",
    ),
    Reason(
        applies=_attends_both_ways,
        rule="a causal language model",
        finding="the configuration of this {kind} has tokens see those that follow them, as for embeddings",
        remedy="take the language model that it was made from",
    ),
)


def refuse_by_configuration(configuration: Any, location: str) -> None:
    """Refuse a base for its configuration, or for that of its text part.

    Args:
        configuration: a transformers configuration.
        location: the base, for the message.

    Raises:
        InputError: a reason applies, or a size is that of no model.
    """
    _refuse_sizes(configuration.get_text_config(), location)
    for reason in REASONS:
        for part in (configuration, configuration.get_text_config()):
            if reason.applies(part):
                finding = reason.finding.format(kind=part.model_type)
                raise InputError(f"model.base: {location} must be {reason.rule}, {finding}; {reason.remedy}")


def _refuse_sizes(text: Any, location: str) -> None:
    """Refuse sizes of a damaged configuration, from which some models are built nevertheless, or for ever.

    Raises:
        InputError: a size is below one, or there are more layers than in any base.
    """
    for name in _SIZES:
        size, most = getattr(text, name, None), _MOST_LAYERS if name == "num_hidden_layers" else None
        if not isinstance(size, int) or 1 <= size <= (most or size):
            continue
        rule = f"from 1 to {most:,}" if most else "at least 1"
        raise InputError(
            f"model.base: {name} in the config.json of {location} must be {rule}, is {size}; take the file "
            "that the base was published with"
        )
