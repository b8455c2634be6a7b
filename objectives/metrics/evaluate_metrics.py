"""The metrics as `evaluate.Metric` subclasses, for use with the rest of the Hugging Face libraries.

They need no network: nothing is loaded by name, so no code is fetched from the Hub. Importing this module
takes seconds (evaluate imports datasets); the engine scores through `score_texts`, which both share.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import evaluate
from datasets import Features, Value

from loratory.objectives.metrics.scoring import TEXT_METRICS, score_texts
from loratory.spaces.metric_names import METRIC_DIRECTIONS, Direction


class TextMetricModule(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """One metric; `compute(predictions=[...], references=[...])` gives its value and its signature.

    `language` and `labels` may be passed to `compute`, with the meaning they have in `score_texts`.
    """

    metric_name: ClassVar[str]

    def __init__(self, **options: Any) -> None:
        """Take the options of `evaluate.Metric`; texts are kept in memory unless told otherwise."""
        super().__init__(**{"keep_in_memory": options.get("num_process", 1) == 1, **options})

    @property
    def direction(self) -> Direction:
        """Which way the metric is better."""
        return METRIC_DIRECTIONS[self.metric_name]

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(TEXT_METRICS[self.metric_name]).__doc__ or "",
            citation="",
            inputs_description="predictions and references: lists of texts, equally long.",
            features=Features({"predictions": Value("string"), "references": Value("string")}),
        )

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str],
        language: str | None = None,
        labels: Sequence[str] = (),
    ) -> dict[str, float | str]:
        name = self.metric_name
        scores = score_texts([name], list(predictions), list(references), language=language, labels=labels)
        return {name: scores.aggregate[name], "signature": scores.signatures[name]}


class Bleu(TextMetricModule):
    """BLEU, 0 to 100."""

    metric_name = "bleu"


class Chrf(TextMetricModule):
    """chrF2, 0 to 100."""

    metric_name = "chrf"


class Rouge1(TextMetricModule):
    """ROUGE-1, 0 to 1."""

    metric_name = "rouge1"


class Rouge2(TextMetricModule):
    """ROUGE-2, 0 to 1."""

    metric_name = "rouge2"


class RougeL(TextMetricModule):
    """ROUGE-L, 0 to 1."""

    metric_name = "rougeL"


class TokenF1(TextMetricModule):
    """Token F1, 0 to 1."""

    metric_name = "token_f1"


class ExactMatch(TextMetricModule):
    """Exact match, 0 to 1."""

    metric_name = "exact_match"


class Accuracy(TextMetricModule):
    """Accuracy of labels, 0 to 1."""

    metric_name = "accuracy"


class MacroF1(TextMetricModule):
    """Macro F1 of labels, 0 to 1."""

    metric_name = "macro_f1"


EVALUATE_METRICS = MappingProxyType(
    {
        module.metric_name: module
        for module in (Bleu, Chrf, Rouge1, Rouge2, RougeL, TokenF1, ExactMatch, Accuracy, MacroF1)
    }
)
"""Metric name to its `evaluate.Metric` subclass."""
