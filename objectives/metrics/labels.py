"""Accuracy and macro F1 for tasks in which every answer is one of few labels."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.metrics.answers import trimmed
from loratory.objectives.metrics.text_metric import ExampleScores, MeanMetric, TextContext, mean_statistics
from loratory.spaces.errors import InputError

MOST_LABELS = 1000
"""Largest number of labels of a classification task."""
_SIGNS = "%‰#&@/\\*"
_EMPHASIS = "*_~`"
_EMOJI_STYLE = "\ufe0f"
_BULLET = re.compile(r"[-–—•*]\s+(?=[^\W\d])")
_POINT = re.compile(r"\.\d")
_SIGNATURE = "labels:{labels}|match:exact-then-folded|norm:nfkc|signs:kept|version:2"


class Accuracy(MeanMetric):
    """Share of answers that are the right label, 0 to 1."""

    def score(
        self, predictions: Sequence[str], references: Sequence[str], context: TextContext
    ) -> ExampleScores:
        """Score n >= 1 predictions. An answer that is no label is wrong."""
        reader = LabelReader.of(context.labels, references)
        values = (reader.read(predictions) == reader.read_references(references)).astype(np.float64)
        signature = _SIGNATURE.format(labels=len(reader.labels))
        return ExampleScores(values=values, statistics=mean_statistics(values), signature=signature)


class MacroF1:
    """F1 of each label, averaged over the labels that occur as reference or answer, 0 to 1.

    This is scikit-learn's `f1_score(average="macro", zero_division=0)`, but an answer that is no label
    counts as a miss of the right label, not as another class. Statistics are [n, 3L] for L labels: hits,
    then how often each label was answered, then how often it was right. An example scores 1 or 0.
    """

    def score(
        self, predictions: Sequence[str], references: Sequence[str], context: TextContext
    ) -> ExampleScores:
        """Score n >= 1 predictions, each against its reference."""
        reader = LabelReader.of(context.labels, references)
        answered, right = (
            _one_hot(places, len(reader.labels))
            for places in (reader.read(predictions), reader.read_references(references))
        )
        hits = answered * right
        return ExampleScores(
            values=hits.sum(axis=1),
            statistics=np.concatenate([hits, answered, right], axis=1),
            signature=f"average:macro|{_SIGNATURE.format(labels=len(reader.labels))}",
        )

    def aggregate(self, summed: NDArray[np.float64]) -> float:
        """Return the macro F1 of examples, from the sum of their statistics, float64 [3L]."""
        hits, answered, right = summed.reshape(3, -1)
        occurs = answered + right > 0
        return float(np.mean(2 * hits[occurs] / (answered + right)[occurs]))


class LabelReader:
    """Finds the label in an answer.

    An answer is a label if both are equal without outer white space. Else, if exactly one label fits, case,
    width of characters and outer punctuation are ignored too (`Positive.` is `positive`); signs are not
    (`-1` is not `1`, `A-` is not `A`).
    """

    def __init__(self, labels: Sequence[str]) -> None:
        """Take the labels, in the order of their statistics."""
        self.labels = tuple(labels)
        self._exact = {trimmed(label): place for place, label in enumerate(self.labels)}
        folded = Counter(map(_folded, self.labels))
        self._folded = {
            _folded(label): place for place, label in enumerate(self.labels) if folded[_folded(label)] == 1
        }

    @classmethod
    def of(cls, labels: Sequence[str], references: Sequence[str]) -> "LabelReader":
        """Return a reader of `labels`, or if there are none, of the sorted references.

        Raises:
            InputError: there are more than `MOST_LABELS` labels.
        """
        known = labels or sorted(set(map(trimmed, references)))
        if len(known) > MOST_LABELS:
            raise InputError(
                f"accuracy and macro_f1 need at most {MOST_LABELS} labels, got {len(known)}: "
                "take metrics for free text, such as rougeL"
            )
        return cls(known)

    def read(self, answers: Sequence[str]) -> NDArray[np.int64]:
        """Return the index of each answer's label, int64 [n]; -1 for an answer that is no label."""
        return np.array([self._place(answer) for answer in answers], dtype=np.int64)

    def read_references(self, references: Sequence[str]) -> NDArray[np.int64]:
        """Return the index of each reference's label, int64 [n].

        Raises:
            InputError: a reference is not among the labels.
        """
        places = self.read(references)
        if (places < 0).any():
            stranger = references[int(np.argmin(places))]
            raise InputError(
                f"every reference must be one of the {len(self.labels)} labels, got {stranger!r}"
            )
        return places

    def _place(self, answer: str) -> int:
        exact = self._exact.get(trimmed(answer))
        if exact is not None:
            return exact
        place = self._folded.get(_folded(answer), -1)
        return place if place >= 0 and _with_signs(answer) == _with_signs(self.labels[place]) else -1


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold().strip()
    bare = plain
    while bare and not bare[0].isalnum():
        bare = bare[1:]
    while bare and not bare[-1].isalnum():
        bare = bare[:-1]
    return bare or plain


def _with_signs(text: str) -> str:
    """Return a text without case, width, outer punctuation, emphasis, bullets and emoji; signs stay."""
    bare, before = _BULLET.sub("", unicodedata.normalize("NFKC", text).casefold().strip()), ""
    while bare != before:
        before = bare
        if len(bare) > 2 and bare[0] == bare[-1] and bare[0] in _EMPHASIS:
            bare = bare[1:-1]
        bare = _without_punctuation(bare)
    return bare


def _without_punctuation(text: str) -> str:
    """Return a text without outer punctuation, or the text if it has nothing else."""
    start, end = 0, len(text)
    while start < end and _is_punctuation(text[start]) and not _POINT.match(text, start):
        start += 1
    while start < end and _is_punctuation(text[end - 1]):
        end -= 1
    return text[start:end] or text


def _is_punctuation(character: str) -> bool:
    if character.isspace() or character == _EMOJI_STYLE:
        return True
    category = unicodedata.category(character)
    return category in ("So", "Cf") or (category[0] == "P" and category != "Pd" and character not in _SIGNS)


def _one_hot(places: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
    """Return rows with a one at each place, float64 [n, labels]; a row of zeros for -1."""
    rows: NDArray[np.float64] = np.equal.outer(places, np.arange(labels)).astype(np.float64)
    return rows
