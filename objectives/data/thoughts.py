"""Thoughts in answers: what a model writes for itself before its answer, between two marks."""

MARKS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
)
"""Marks before and after a thought: DeepSeek-R1 and Qwen3, Magistral, EXAONE Deep, Seed-OSS, Kimi."""


def has_thought(text: str) -> bool:
    """Return whether a text has a thought that ends."""
    return any(end in text for _, end in MARKS)


def after_thought(text: str) -> str:
    """Return what follows the last thought of a text, stripped; the whole text where it has no thought."""
    for _, end in MARKS:
        if end in text:
            return text.rpartition(end)[2].strip()
    return text


def opened_thought(prompt: str) -> str:
    """Return the mark that opens a thought at the end of a prompt, or ""."""
    return next((start for start, _ in MARKS if prompt.rstrip().endswith(start)), "")


def answer_alone(text: str, *, prompt: str) -> str:
    """Return a decoded or expected answer without its thought; "" where the thought does not end.

    Args:
        text: the answer; a thought may come first.
        prompt: what came before it, which may have opened the thought.
    """
    if has_thought(text):
        return after_thought(text)
    begun = opened_thought(prompt) or next((start for start, _ in MARKS if text.startswith(start)), "")
    return "" if begun else text
