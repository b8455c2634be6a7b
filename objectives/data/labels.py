"""The labels of a classification study."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from loratory.objectives.data.encoded_rows import EncodedRows, Indices
from loratory.objectives.data.rows import Part
from loratory.objectives.metrics.labels import MOST_LABELS
from loratory.spaces.errors import InputError


def find_labels(rows: EncodedRows, parts: Mapping[Part, Indices], *, max_new_tokens: int) -> tuple[str, ...]:
    """Return every label of the training rows, sorted.

    Args:
        rows: all rows.
        parts: indices of the cleaned rows of each split.
        max_new_tokens: longest answer that is decoded, in tokens.

    Raises:
        InputError: train has fewer than two labels or over a thousand, eval or test has a label that is not
            in train, or a label is longer than `max_new_tokens`.
    """
    labels = set(rows.examples.references.take(parts[Part.TRAIN]))
    known = tuple(sorted(labels))
    if not 2 <= len(known) <= MOST_LABELS:
        raise InputError(
            f"data.task classification needs 2 to {MOST_LABELS} labels in train, got {len(known)} "
            f"({', '.join(map(repr, known[:3]))}); for free text set data.task: generation"
        )
    for part in (Part.EVAL, Part.TEST):
        for index, label in zip(
            parts[part].tolist(), rows.examples.references.take(parts[part]), strict=True
        ):
            if label not in labels:
                raise InputError(
                    f"{rows.place(index)}: label {label!r} of {part} is not in train; "
                    f"known are {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}"
                )
    _check_decodable(rows, parts[Part.TRAIN], max_new_tokens)
    return known


def return_missing(rows: EncodedRows, parts: Mapping[Part, Indices]) -> dict[Part, Indices]:
    """Return the splits of which eval was drawn from train, with eval's rows in train whose label it lost."""
    known = set(rows.examples.references.take(parts[Part.TRAIN]))
    eval_ = parts[Part.EVAL]
    missing = np.array([label not in known for label in rows.examples.references.take(eval_)], dtype=np.bool_)
    train = np.sort(np.concatenate([parts[Part.TRAIN], eval_[missing]]))
    return {**parts, Part.TRAIN: train, Part.EVAL: eval_[~missing]}


def unscored(rows: EncodedRows, parts: Mapping[Part, Indices]) -> dict[str, int]:
    """Return the labels of train that no eval row has, and their numbers of rows, the rarest first."""
    counts = Counter(rows.examples.references.take(parts[Part.TRAIN]))
    for label in set(rows.examples.references.take(parts[Part.EVAL])):
        counts.pop(label, None)
    return dict(sorted(counts.items(), key=lambda item: (item[1], item[0])))


def look_alike(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Return sets of labels that differ only in case, in width, or in how a number is written."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(_plain(label), []).append(label)
    return [tuple(names) for names in alike.values() if len(names) > 1]


def _plain(label: str) -> str:
    text = unicodedata.normalize("NFKC", label).casefold().strip()
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _check_decodable(rows: EncodedRows, train: Indices, max_new_tokens: int) -> None:
    lengths = rows.examples.answer_lengths[train]
    longest = int(lengths.max())
    if longest > max_new_tokens:
        label = rows.examples.references[int(train[int(lengths.argmax())])]
        raise InputError(
            f"evaluation.max_new_tokens must be at least {longest}, the length of the label "
            f"{label[:60]!r}, got {max_new_tokens}"
        )
