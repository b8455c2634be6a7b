"""The labels of a classification study."""

from loratory.objectives.data.encoding import Encoded
from loratory.objectives.data.rows import Part
from loratory.objectives.metrics.labels import MOST_LABELS
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import Task


def find_labels(parts: dict[Part, list[Encoded]], *, task: Task, max_new_tokens: int) -> tuple[str, ...]:
    """Return every label of the training rows, sorted; none where answers are free text.

    Args:
        parts: the cleaned rows of each split.
        task: generation or classification.
        max_new_tokens: longest answer that is decoded, in tokens.

    Raises:
        InputError: train has fewer than two labels or over a thousand, eval or test has a label that is not
            in train, or a label is longer than `max_new_tokens`.
    """
    if task is not Task.CLASSIFICATION:
        return ()
    labels = tuple(sorted({example.reference for example in parts[Part.TRAIN]}))
    if not 2 <= len(labels) <= MOST_LABELS:
        raise InputError(
            f"data.task classification needs 2 to {MOST_LABELS} labels in train, got {len(labels)} "
            f"({', '.join(map(repr, labels[:3]))}); for free text set data.task: generation"
        )
    for part in (Part.EVAL, Part.TEST):
        for example in parts[part]:
            if example.reference not in labels:
                raise InputError(
                    f"{example.row.raw.place}: label {example.reference!r} of {part} is not in train; "
                    f"known are {', '.join(labels[:10])}{', ...' if len(labels) > 10 else ''}"
                )
    _check_decodable(parts[Part.TRAIN], max_new_tokens)
    return labels


def _check_decodable(train: list[Encoded], max_new_tokens: int) -> None:
    longest = max(train, key=lambda example: len(example.answer_ids))
    if len(longest.answer_ids) > max_new_tokens:
        raise InputError(
            f"evaluation.max_new_tokens must be at least {len(longest.answer_ids)}, the length of the label "
            f"{longest.reference[:60]!r}, got {max_new_tokens}"
        )
