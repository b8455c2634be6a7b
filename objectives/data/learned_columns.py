"""Columns and keys that change what is learned: each is used, or stops the study."""

import math
from typing import Any

MARKS = frozenset(
    {"weight", "train", "training", "trainable", "loss", "loss_weight", "loss_scale", "sample_weight"}
)
"""Names of marks on a row or a turn that say whether it is learned."""

SYSTEM_COLUMNS = ("system", "system_prompt", "system_message")
TOOLS_COLUMNS = ("tools", "functions")
INPUT_COLUMNS = ("input", "context")

MEDIA = frozenset({"image", "images", "audio", "audios", "video", "videos"})

LEARNED_COLUMNS = frozenset(
    {*SYSTEM_COLUMNS, *TOOLS_COLUMNS, *INPUT_COLUMNS, *MEDIA, "history", "documents", "chat_template_kwargs"}
    | {"reasoning_content", "train_detail", "loss_mask"}
)
"""Columns of which the text or the effect belongs to the prompt or the loss, in lower case."""

LEARNED_KEYS = MEDIA | {
    "reasoning_content",
    "reasoning",
    "thinking",
    "thoughts",
    "tools",
    "functions",
    "train_detail",
    "loss_mask",
}
"""Keys of turns of which the same holds."""

PREFERENCE_MARKS = frozenset({"label", "kto_tag"})
"""Columns that are false where a completion is not wanted (KTO)."""


def is_null(value: Any) -> bool:
    """Return whether a value is null, or NaN, which pandas writes for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_filled(value: Any) -> bool:
    """Return whether a value holds something: it is not null, blank or an empty list, in JSON text too."""
    if isinstance(value, str):
        return value.strip() not in ("", "[]", "{}", "null")
    if isinstance(value, (list, dict)):
        return any(is_filled(item) for item in (value.values() if isinstance(value, dict) else value))
    return not is_null(value) and value is not False
