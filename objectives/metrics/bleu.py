"""BLEU, computed by sacrebleu, with the counts behind it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.metrics.bleu_tokenizers import bleu_signature, open_bleu
from loratory.objectives.metrics.scripts import bleu_tokenizer, text_script
from loratory.objectives.metrics.text_metric import ExampleScores, TextContext
from loratory.spaces.data import BleuTokenizer

_ORDER = 4


class Bleu:
    """BLEU (Papineni et al., 2002), 0 to 100, as `sacrebleu.metrics.BLEU` computes it (Post, 2018).

    The aggregate is `corpus_score` with sacrebleu's defaults and the tokenizer of the context. The value of
    an example is its sentence BLEU, which stops at the longest n-gram of the prediction (effective order).
    Statistics are [n, 10]: the lengths of prediction and reference, the matches of 1- to 4-grams, and the
    prediction's n-grams.
    """

    def score(
        self, predictions: Sequence[str], references: Sequence[str], context: TextContext
    ) -> ExampleScores:
        """Score n >= 1 predictions, each against its reference."""
        tokenizer = _tokenizer(references, context)
        sentence = open_bleu(tokenizer, file=context.bleu_tokenizer_file, effective_order=True)
        scores = [sentence.sentence_score(p, [r]) for p, r in zip(predictions, references, strict=True)]
        corpus = open_bleu(tokenizer, file=context.bleu_tokenizer_file)
        corpus.corpus_score(predictions[:1], [references[:1]])  # fills in the signature
        return ExampleScores(
            values=np.array([s.score for s in scores], dtype=np.float64),
            statistics=np.array(
                [[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in scores], dtype=np.float64
            ),
            signature=bleu_signature(corpus, context.bleu_tokenizer_file),
        )

    def aggregate(self, summed: NDArray[np.float64]) -> float:
        """Return the corpus BLEU of examples, from the sum of their statistics, float64 [10]."""
        from sacrebleu.metrics.bleu import BLEU

        counts = [round(count) for count in summed]
        return BLEU.compute_bleu(
            correct=counts[2 : 2 + _ORDER],
            total=counts[2 + _ORDER :],
            sys_len=counts[0],
            ref_len=counts[1],
            smooth_method="exp",
        ).score


def _tokenizer(references: Sequence[str], context: TextContext) -> str:
    if context.bleu_tokenizer != BleuTokenizer.AUTO:
        return str(context.bleu_tokenizer)
    return bleu_tokenizer(text_script(references, context.language))
