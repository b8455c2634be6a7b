"""Token F1 and exact match: how well an answer agrees with the expected one."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from loratory.objectives.metrics.text_metric import ExampleScores, MeanMetric, TextContext, mean_statistics
from loratory.objectives.metrics.words import answer_words


class TokenF1(MeanMetric):
    """F1 over the bags of words of prediction and reference, 0 to 1 (SQuAD; Rajpurkar et al., 2016)."""

    def score(self, predictions: Sequence[str], references: Sequence[str], _: TextContext) -> ExampleScores:
        """Score n >= 1 predictions. If one of two texts has no words, F1 is 1 for equal texts, else 0."""
        pairs = zip(predictions, references, strict=True)
        values = np.array([_token_f1(p, r) for p, r in pairs], dtype=np.float64)
        signature = "case:lc|tok:unicode-words|punct:no|articles:no|norm:nfkc|version:1"
        return ExampleScores(values=values, statistics=mean_statistics(values), signature=signature)


class ExactMatch(MeanMetric):
    """Share of predictions that equal their reference, 0 to 1.

    Outer white space is ignored, and so is whether an accented letter is composed (Unicode NFC).
    """

    def score(self, predictions: Sequence[str], references: Sequence[str], _: TextContext) -> ExampleScores:
        """Score n >= 1 predictions, each against its reference."""
        pairs = zip(predictions, references, strict=True)
        values = np.array([trimmed(p) == trimmed(r) for p, r in pairs], dtype=np.float64)
        signature = "case:mixed|strip:yes|norm:nfc|version:1"
        return ExampleScores(values=values, statistics=mean_statistics(values), signature=signature)


def trimmed(text: str) -> str:
    """Return the text in Unicode NFC, without outer white space."""
    return unicodedata.normalize("NFC", text).strip()


def _token_f1(prediction: str, reference: str) -> float:
    predicted, expected = answer_words(prediction), answer_words(reference)
    if not predicted or not expected:
        return float(trimmed(prediction) == trimmed(reference))
    common = (Counter(predicted) & Counter(expected)).total()
    return 2 * common / (len(predicted) + len(expected))
