"""Weights in the files of a base that its model has no place for, and which of them do no harm."""

import re
from typing import Any

_HARMLESS = {
    "buffers": r"inv_freq$|(^|\.)(masked_bias|position_ids|rotary_emb\..*|_extra_state)$"
    r"|\.(attn|attention|self_attention)\.bias$",
    "heads for multi-token prediction": r"(^|\.)mtp\w*\.",
    "towers for images or sound": r"(^|\.)\w*(vision|visual|image|video|audio|speech|multi_?modal)\w*\.",
    "heads of reward models": r"^(v_head|value_head|score|reward_head)\.",
}
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


def harmless_reason(name: str, configuration: Any) -> str | None:
    """Return the kind of a weight that the text model works without; None if it may belong to the model.

    Args:
        name: the weight, as transformers reads it.
        configuration: the base's transformers configuration.
    """
    for reason, pattern in _HARMLESS.items():
        if re.search(pattern, name):
            return reason
    return "heads for multi-token prediction" if _is_layer_beyond(name, configuration) else None


def _is_layer_beyond(name: str, configuration: Any) -> bool:
    """Return True for the layers that DeepSeek and GLM put behind the last one, as many as they say."""
    text = configuration.get_text_config()
    beyond = getattr(text, "num_nextn_predict_layers", None) or 0
    first = getattr(text, "num_hidden_layers", None)
    layer = _LAYER.search(name)
    return layer is not None and first is not None and first <= int(layer.group(1)) < first + beyond
