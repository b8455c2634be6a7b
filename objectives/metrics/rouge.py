"""ROUGE, computed by rouge_score on words of any script."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import numpy as np

from loratory.objectives.metrics.text_metric import ExampleScores, MeanMetric, TextContext, mean_statistics
from loratory.objectives.metrics.words import rouge_words


class _Tokenizer:
    """The one method that rouge_score calls."""

    def tokenize(self, text: str) -> list[str]:
        return rouge_words(text)


@dataclass(frozen=True)
class Rouge(MeanMetric):
    """ROUGE (Lin, 2004): mean F-measure over examples, 0 to 1, as the rouge_score package computes it.

    Attributes:
        variant: `rouge1` and `rouge2` count n-grams, `rougeL` takes the longest common subsequence.
    """

    variant: str

    def score(self, predictions: Sequence[str], references: Sequence[str], _: TextContext) -> ExampleScores:
        """Score n >= 1 predictions, each against its reference. A text without words scores 0."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([self.variant], tokenizer=_Tokenizer())
        values = np.array(
            [
                scorer.score(reference, prediction)[self.variant].fmeasure
                for prediction, reference in zip(predictions, references, strict=True)
            ],
            dtype=np.float64,
        )
        signature = f"measure:f|case:lc|stem:no|tok:unicode-words|norm:nfkc|version:{version('rouge_score')}"
        return ExampleScores(values=values, statistics=mean_statistics(values), signature=signature)


Rouge1, Rouge2, RougeL = (partial(Rouge, variant) for variant in ("rouge1", "rouge2", "rougeL"))
