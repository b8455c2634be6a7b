"""F1 and exact match of SQuAD, 0 to 100, by the rules of its official evaluation script."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from loratory.objectives.metrics.text_metric import ExampleScores, MeanMetric, TextContext, mean_statistics

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_SIGNATURE: Final = "case:lc|punct:no-ascii|articles:no|space:fold|refs:1|version:evaluate-v2.0"


@dataclass(frozen=True)
class Squad(MeanMetric):
    """A metric of SQuAD's evaluate-v2.0.py (Rajpurkar et al., 2018), 0 to 100, with one reference each.

    Attributes:
        compare: function of prediction and reference, each as its words, that returns 0 to 1.
    """

    compare: Callable[[list[str], list[str]], float]

    def score(self, predictions: Sequence[str], references: Sequence[str], _: TextContext) -> ExampleScores:
        """Score n >= 1 predictions, each against its reference."""
        pairs = zip(predictions, references, strict=True)
        shares = [self.compare(squad_words(p), squad_words(r)) for p, r in pairs]
        values = 100.0 * np.array(shares, dtype=np.float64)
        return ExampleScores(values=values, statistics=mean_statistics(values), signature=_SIGNATURE)


def squad_words(text: str) -> list[str]:
    """Return the words of an answer: lower case, without ASCII punctuation and English articles.

    Unlike `answer_words`, it leaves other scripts and punctuation as they are.
    """
    return _ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def _f1(predicted: list[str], expected: list[str]) -> float:
    if not predicted or not expected:
        return float(predicted == expected)
    common = (Counter(predicted) & Counter(expected)).total()
    return 2 * common / (len(predicted) + len(expected))


def _exact(predicted: list[str], expected: list[str]) -> float:
    return float(predicted == expected)


SquadF1, SquadExactMatch = (partial(Squad, compare) for compare in (_f1, _exact))
