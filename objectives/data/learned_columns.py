"""Columns and keys that change what is learned: each is used, or stops the study."""

import math
import re
from typing import Any

_SEPARATORS = re.compile(r"[\s\-.]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

MARKS = frozenset(
    {"weight", "train", "training", "trainable", "loss", "loss_weight", "loss_scale", "sample_weight"}
)
"""Names of marks on a row or a turn that say whether it is learned."""

SYSTEM_COLUMNS = ("system", "system_prompt", "system_message")
TOOLS_COLUMNS = ("tools", "functions")
INPUT_COLUMNS = ("input", "context")
HISTORY_COLUMNS = ("history",)
EXPECTED_NAMES = {
    name: names[0]
    for names in (
        (*SYSTEM_COLUMNS, "sys_prompt"),
        (*TOOLS_COLUMNS, "available_tools"),
        INPUT_COLUMNS,
        (*HISTORY_COLUMNS, "chat_history", "conversation_history"),
    )
    for name in names
}
"""Plain names of columns to the name under which `data.columns` may give them."""

MEDIA = frozenset({"image", "images", "audio", "audios", "video", "videos"})

LEARNED_COLUMNS = frozenset(
    {*EXPECTED_NAMES, *MEDIA, "documents", "chat_template_kwargs"}
    | {"reasoning_content", "train_detail", "loss_mask"}
)
"""Columns of which the text or the effect belongs to the prompt or the loss, by their plain names."""

LEARNED_KEYS = MEDIA | {
    "reasoning_content",
    "reasoning",
    "thinking",
    "thought",
    "thoughts",
    "tools",
    "functions",
    "tool_call",
    "tool_calls",
    "tool_uses",
    "tool_results",
    "function_call",
    "function_calls",
    "train_detail",
    "loss_mask",
}
"""Keys of turns of which the same holds, by their plain names."""

PREFERENCE_MARKS = frozenset({"label", "kto_tag"})
"""Columns that are false where a completion is not wanted (KTO)."""


def plain_name(column: str) -> str:
    """Return a column's name in lower case with underscores: `System Prompt` and `systemPrompt` alike."""
    return _SEPARATORS.sub("_", _CAMEL.sub("_", column.strip())).lower()


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
