"""The gain of tuning in a few rows (base, median, best, test), and trials equal to the best."""

from collections.abc import Mapping
from dataclasses import dataclass

from loratory.reports.comparison_report import Choice, ComparisonReport, ScoredTrial, Scores
from loratory.reports.findings import Findings, Interval
from loratory.reports.formatting import between, label, score, signed
from loratory.reports.statistics.cautions import few_groups

_NAMED_EQUALS = 5


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One model on one split."""

    model: str
    split: str
    metrics: dict[str, float]
    intervals: dict[str, Interval]

    def ends(self, metric: str) -> str:
        """Return the interval of a metric for people; empty where it has none."""
        found = self.intervals.get(metric)
        return between(found) if found else ""


def usual_folder(report: ComparisonReport) -> str:
    """Return where `loratory run` makes the study folder."""
    return f"runs/{report.study.name}"


def metric_names(report: ComparisonReport) -> list[str]:
    """Return all metrics that any model has, the study's metric first."""
    held = [trial.metrics for trial in report.ranking]
    held += [scores.metrics for scores in (*([report.base] if report.base else []), *report.test)]
    known = {name: None for metrics in held for name in metrics}
    own = report.study.metric
    return [name for name in (own, *(n for n in known if n != own)) if name in known]


def comparison_rows(report: ComparisonReport, published: ScoredTrial | None = None) -> list[ComparisonRow]:
    """Return rows of base, median and best on eval.select, then of the scores on confirm and on test.

    Args:
        report: the comparison.
        published: a trial that gets an additional row if it is neither median nor best; None: that of the
            choice.
    """
    published = published or report.winner
    own = report.study.metric
    rows = [_outside(report.base, own)] if report.base else []
    named: list[tuple[str, ScoredTrial | None]] = [("median", report.median_trial), ("best", report.best)]
    if published not in (report.median_trial, report.best):
        named.append(("published", published))
    for name, trial in named:
        if trial is not None:
            model = f"trial {trial.shown} ({name})"
            rows.append(
                ComparisonRow(
                    model=model,
                    split="select",
                    metrics=trial.metrics,
                    intervals=_intervals(trial, own),
                )
            )
    shown = [s for s in report.confirm if s.shown is None or (published and s.trial == published.key)]
    return rows + [_outside(scores, own) for scores in (*shown, *report.test)]


def best_line(report: ComparisonReport) -> str:
    """Return a sentence with the best value on eval.select and its gain over the untuned base.

    The gain of a trial that was picked for its value is less what that adds, as in the verdict.
    """
    best = report.best
    if best is None:
        return ""
    told = f"Best value: trial {best.number}, {label(report.study.metric)} {score(best.value)} on eval.select"
    optimism = report.findings.optimism if report.findings and best.picked else None
    if best.gain is None:
        return f"{told}."
    if best.gain == 0:
        return f"{told}, exactly as the untuned base."
    gain, flattered = best.gain - (optimism or 0.0), "less what being picked adds, " if optimism else ""
    ends = best.gain_interval
    within = f" [{score(ends.low)}, {score(ends.high)}]" if ends else ""
    if gain == 0:
        return f"{told}; {flattered}as the untuned base{within}."
    which = "better" if gain > 0 else "worse"
    return f"{told}; {flattered}{signed(gain)}{within}, {which} than the untuned base."


def choice_line(report: ComparisonReport) -> str | None:
    """Return a sentence on which adapter is published and why; None if no trial is ranked."""
    if report.choice is None:
        return None
    names = {trial.key: trial.shown for trial in report.scored}
    return choice_words(report.choice, names=names, metric=report.study.metric)


def picked_line(choice: Choice | None, found: Findings | None) -> str | None:
    """Return a sentence with the interval of what eval.select alone picked, or why there is none.

    None if no trial is ranked, where eval.confirm chose (`choice_line` has that interval), and where the
    verdict says that nothing tells how sure the score is.
    """
    if choice is None or choice.candidates or found is None or found.units < 2:
        return None
    if found.interval is None:
        return "Its scores are all alike and give no interval."
    ends = f"[{score(found.interval.low)}, {score(found.interval.high)}]"
    rough = "; few groups: rough" if few_groups(found.unit, found.units) else ""
    return f"Its score less what being picked adds: {ends} (95%, {found.units:,} {found.unit}s{rough})."


def choice_words(choice: Choice, *, names: Mapping[str, str], metric: str) -> str:
    """Return a sentence on which adapter is published and why.

    Args:
        choice: the choice.
        names: names of trials for people, by key.
        metric: the study's metric.
    """
    name = names.get(choice.key, choice.key)
    if not choice.candidates:
        return f"Published is trial {name}, the best on eval.select: {choice.why}."
    shown = [names.get(key, key) for key in choice.candidates]
    among = f"trials {', '.join(shown[:-1])} and {shown[-1]}" if shown[1:] else f"trial {shown[0]} alone"
    were = "were" if shown[1:] else "was"
    value = f"{label(metric)} {score(choice.pooled[choice.key])} on {choice.examples:,} examples"
    return (
        f"Published is trial {name}: of {among}, which may be the best and {were} scored on "
        f"eval.confirm too, {choice.why} ({value}).{_expected(choice)}"
    )


def _expected(choice: Choice) -> str:
    if choice.expected is None or choice.interval is None:
        return " It has no interval: eval.confirm is too small or too uniform for one."
    ends = f"[{score(choice.interval.low)}, {score(choice.interval.high)}]"
    rough = "; few groups: rough" if few_groups(choice.unit, choice.units or 0) else ""
    return (
        f" On eval.confirm alone, less what this choice flatters: {score(choice.expected)} {ends} "
        f"(95%, {choice.units:,} {choice.unit}s{rough})."
    )


def tie_note(report: ComparisonReport) -> str | None:
    """Return a sentence that names trials with exactly the best value; None if there are none."""
    if report.best is None:
        return None
    equals = [str(trial.number) for trial in report.ranking[1:] if trial.value == report.best.value]
    if not equals:
        return None
    if len(equals) > _NAMED_EQUALS:
        equals[_NAMED_EQUALS - 1 :] = [f"{len(equals) - _NAMED_EQUALS + 1} more"]
    *named, last = equals
    who = f"Trials {', '.join(named)} and {last} have" if named else f"Trial {last} has"
    metric = label(report.study.metric)
    return (
        f"{who} exactly the {metric} of trial {report.best.number}; of equals the lowest number comes first."
    )


def _outside(scores: Scores, metric: str) -> ComparisonRow:
    model = "untuned base" if scores.shown is None else f"trial {scores.shown}"
    return ComparisonRow(
        model=model, split=scores.split, metrics=scores.metrics, intervals=_intervals(scores, metric)
    )


def _intervals(found: ScoredTrial | Scores, metric: str) -> dict[str, Interval]:
    """Return a model's intervals, of the study's metric as it was picked by it."""
    others = {name: interval for name, interval in found.intervals.items() if name != metric}
    return {metric: found.interval, **others} if found.interval else others
