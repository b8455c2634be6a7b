"""Which metrics exist and which way each is better; `loratory.objectives.metrics` computes them."""

from enum import StrEnum
from types import MappingProxyType


class Direction(StrEnum):
    """Which way a metric is better, in Optuna's words."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


class Task(StrEnum):
    """What an answer is: free text, or one label out of those in the training data."""

    GENERATION = "generation"
    CLASSIFICATION = "classification"


METRIC_DIRECTIONS = MappingProxyType(
    {
        "loss": Direction.MINIMIZE,
        "bleu": Direction.MAXIMIZE,
        "chrf": Direction.MAXIMIZE,
        "rouge1": Direction.MAXIMIZE,
        "rouge2": Direction.MAXIMIZE,
        "rougeL": Direction.MAXIMIZE,
        "token_f1": Direction.MAXIMIZE,
        "exact_match": Direction.MAXIMIZE,
        "accuracy": Direction.MAXIMIZE,
        "macro_f1": Direction.MAXIMIZE,
    }
)

DEFAULT_METRICS = MappingProxyType(
    {
        Task.GENERATION: ("bleu", "chrf", "rouge1", "rouge2", "rougeL", "token_f1", "exact_match"),
        Task.CLASSIFICATION: ("accuracy", "macro_f1", "exact_match"),
    }
)

LABEL_METRICS = frozenset({"accuracy", "macro_f1"})
"""Metrics that need a task of classification."""
