"""chrF, computed by sacrebleu, with the counts behind it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.metrics.text_metric import ExampleScores, TextContext


class Chrf:
    """chrF2 (Popovic, 2015), 0 to 100, as `sacrebleu.metrics.CHRF` computes it by default.

    It counts character 1- to 6-grams, so it needs no tokenizer. Statistics are [n, 18]: for each order the
    n-grams of the prediction, those of the reference, and the matches.
    """

    def score(self, predictions: Sequence[str], references: Sequence[str], _: TextContext) -> ExampleScores:
        """Score n >= 1 predictions, each against its reference."""
        from sacrebleu.metrics.chrf import CHRF

        chrf = CHRF()
        # sacrebleu has no public call for these counts; its own significance tests use this one.
        counts = chrf._extract_corpus_statistics(predictions, [references])
        return ExampleScores(
            values=np.array([chrf._compute_f_score(row) for row in counts], dtype=np.float64),
            statistics=np.array(counts, dtype=np.float64),
            signature=str(chrf.get_signature()),
        )

    def aggregate(self, summed: NDArray[np.float64]) -> float:
        """Return the corpus chrF of examples, from the sum of their statistics, float64 [18]."""
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()._compute_f_score([round(count) for count in summed])
