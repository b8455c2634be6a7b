"""ROUGE, computed by rouge_score on words of any script, and as the package has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from loratory.objectives.metrics.text_metric import ExampleScores, MeanMetric, TextContext, mean_statistics
from loratory.objectives.metrics.words import rouge_words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


class _Tokenizer:
    """The one method that rouge_score calls."""

    def tokenize(self, text: str) -> list[str]:
        return rouge_words(text)


@dataclass(frozen=True)
class Rouge(MeanMetric):
    """ROUGE (Lin, 2004): mean F-measure over examples, 0 to 1, as the rouge_score package computes it.

    Attributes:
        variant: `rouge1` and `rouge2` count n-grams, `rougeL` takes the longest common subsequence of whole
            texts, `rougeLsum` the union of those of their lines.
        own_words: words of any script, without stemming; False: the package's words (ASCII letters and
            digits alone), stemmed where the context says so. On ASCII text both are the same words.
    """

    variant: str
    own_words: bool = True

    def score(
        self, predictions: Sequence[str], references: Sequence[str], context: TextContext
    ) -> ExampleScores:
        """Score n >= 1 predictions, each against its reference. A text without words scores 0."""
        scorer = self._scorer(context)
        values = np.array(
            [
                scorer.score(reference, prediction)[self.variant].fmeasure
                for prediction, reference in zip(predictions, references, strict=True)
            ],
            dtype=np.float64,
        )
        signature = self._signature(context)
        return ExampleScores(values=values, statistics=mean_statistics(values), signature=signature)

    def _scorer(self, context: TextContext) -> "RougeScorer":
        from rouge_score.rouge_scorer import RougeScorer

        if self.own_words:
            return RougeScorer([self.variant], tokenizer=_Tokenizer())
        return RougeScorer([self.variant], use_stemmer=context.rouge_stemmer)

    def _signature(self, context: TextContext) -> str:
        lines = "sentences:lines|" if self.variant == "rougeLsum" else ""
        end = f"{lines}version:{version('rouge_score')}"
        if self.own_words:
            return f"measure:f|case:lc|stem:no|tok:unicode-words|norm:nfkc|{end}"
        stem = "porter" if context.rouge_stemmer else "no"
        return f"measure:f|case:lc|stem:{stem}|tok:rouge_score|{end}"


_VARIANTS = ("rouge1", "rouge2", "rougeL", "rougeLsum")

Rouge1, Rouge2, RougeL, RougeLsum = (partial(Rouge, variant) for variant in _VARIANTS)
PackageRouge1, PackageRouge2, PackageRougeL, PackageRougeLsum = (
    partial(Rouge, variant, own_words=False) for variant in _VARIANTS
)
