"""The metrics of decoded text behind the interface of Hugging Face's `evaluate`.

Importing this module takes seconds, since evaluate imports datasets. Nothing is fetched from the Hub.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
from datasets import Features, Value

from loratory.objectives.metrics.scoring import TEXT_METRICS, score_texts
from loratory.spaces.metric_names import METRICS, Direction


class EvaluateMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """One metric; `compute(predictions=[...], references=[...])` returns its value and its signature.

    `compute` also takes the options of `score_texts`, such as `language`, `labels` and `bleu_tokenizer`.

    Args:
        name: a metric of `TEXT_METRICS`.
        options: options of `evaluate.Metric`; texts are kept in memory unless told otherwise.
    """

    def __init__(self, name: str, **options: Any) -> None:
        self.metric_name = name
        in_memory = options.get("num_process", 1) == 1
        super().__init__(**{"config_name": name, "keep_in_memory": in_memory, **options})

    @property
    def direction(self) -> Direction:
        """Which values of the metric are better."""
        return METRICS[self.metric_name].direction

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=TEXT_METRICS[self.metric_name].__doc__ or "",
            citation="",
            inputs_description="predictions and references: lists of texts, equally long.",
            features=Features({"predictions": Value("string"), "references": Value("string")}),
        )

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str],
        **options: Any,
    ) -> dict[str, float | str]:
        name = self.metric_name
        scores = score_texts([name], list(predictions), list(references), **options)
        return {name: scores.aggregate[name], "signature": scores.signatures[name]}
