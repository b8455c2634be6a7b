"""Scores of decoded text: BLEU, chrF, ROUGE, token F1, exact match, accuracy and macro F1, all offline."""

from loratory.objectives.metrics.scoring import TextScores, aggregate_from_statistics, score_texts

__all__ = ["TextScores", "aggregate_from_statistics", "score_texts"]
