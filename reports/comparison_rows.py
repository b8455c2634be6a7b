"""The few rows that tell what tuning brought: base, median and best trial, and the test scores."""

from dataclasses import dataclass

from loratory.reports.comparison_report import ComparisonReport, RankedTrial, Scores

_NAMED_EQUALS = 5


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


def tie_note(report: ComparisonReport) -> str | None:
    """Which trials have exactly the best one's value, in a sentence; None where none has."""
    best = report.best
    equals = [str(t.number) for t in report.ranking[1:] if best is not None and t.value == best.value]
    if best is None or not equals:
        return None
    *named, last = equals if len(equals) <= _NAMED_EQUALS else [*equals[:4], f"{len(equals) - 4} more"]
    who = f"Trials {', '.join(named)} and {last} score" if named else f"Trial {last} scores"
    return f"{who} exactly the same as trial {best.number}; of equals the lowest number comes first."


def _outside(scores: Scores) -> ComparisonRow:
    model = "untuned base" if scores.number is None else f"trial {scores.number}"
    return ComparisonRow(model=model, split=scores.split, metrics=scores.metrics)
