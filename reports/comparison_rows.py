"""The few rows that tell what tuning brought: base, median and best trial, and the test scores."""

from dataclasses import dataclass

from loratory.reports.comparison_report import ComparisonReport, RankedTrial, Scores


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One model on one split."""

    model: str
    split: str
    metrics: dict[str, float]


def metric_names(report: ComparisonReport) -> list[str]:
    """Every metric that any model has, the study's own first."""
    held = [trial.metrics for trial in report.ranking]
    held += [scores.metrics for scores in (*([report.base] if report.base else []), *report.test)]
    known = {name: None for metrics in held for name in metrics}
    own = report.study.metric
    return [name for name in (own, *(n for n in known if n != own)) if name in known]


def comparison_rows(report: ComparisonReport, published: RankedTrial | None = None) -> list[ComparisonRow]:
    """Base, median and best on eval.select, then what was scored on test.

    Args:
        report: the comparison.
        published: a trial that gets a row of its own where it is neither median nor best.
    """
    rows = [_outside(report.base)] if report.base else []
    named = [("median", report.median_trial), ("best", report.best)]
    if published not in (report.median_trial, report.best):
        named.append(("published", published))
    for name, trial in named:
        if trial is not None:
            model = f"trial {trial.number} ({name})"
            rows.append(ComparisonRow(model=model, split="select", metrics=trial.metrics))
    return rows + [_outside(scores) for scores in report.test]


def _outside(scores: Scores) -> ComparisonRow:
    model = "untuned base" if scores.number is None else f"trial {scores.number}"
    return ComparisonRow(model=model, split=scores.split, metrics=scores.metrics)
