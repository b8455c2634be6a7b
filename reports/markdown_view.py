"""report.md: the comparison as Markdown, for a repository, an issue or a chat."""

from collections.abc import Sequence

from loratory.reports import formatting
from loratory.reports.columns import Column, View, columns
from loratory.reports.comparison_report import ComparisonReport, ScoredTrial, TrialFacts
from loratory.reports.comparison_rows import choice_line, comparison_rows, metric_names, picked_line, tie_note
from loratory.reports.markdown import code, escaped, fenced, table
from loratory.reports.retrained_words import HEADS, ONE_RUN, retrained_notes, retrained_rows
from loratory.reports.verdict import further_line


def markdown_report(report: ComparisonReport) -> str:
    """Return the comparison as Markdown."""
    parts = [f"# {escaped(report.study.name)}", _opening(report)]
    if report.best:
        parts += ["## Base, median and best", comparison_table(report)]
        parts += signature_list(report.signatures)
        parts += ["## Ranking", ranking_table(report), *_interval_note(report)]
        parts += _retrained(report)
        parts += ["## What decided", *_importance(report)]
    if report.unranked:
        unranked = columns(report, View.MARKDOWN_UNRANKED)
        parts += ["## Not ranked", _trials(report.unranked, unranked, text_columns=3)]
    if report.samples:
        parts += ["## Sample answers", *_samples(report)]
    parts += ["## What it took", _totals(report)]
    return "\n\n".join(parts) + "\n"


def comparison_table(report: ComparisonReport, published: ScoredTrial | None = None) -> str:
    """Return a table of every metric of base, median, best and the published trial."""
    names = metric_names(report)
    rows = [
        [row.model, row.split, *(formatting.score(row.metrics.get(name)) for name in names)]
        for row in comparison_rows(report, published)
    ]
    return table(["model", "split", *map(formatting.label, names)], rows, text_columns=2)


def signature_list(signatures: dict[str, str]) -> list[str]:
    """Return a list of how each metric was computed; nothing where that is not known."""
    lines = [f"- {formatting.label(name)}: {code(text)}" for name, text in signatures.items()]
    return ["\n".join(["How each metric is computed:", "", *lines])] if lines else []


def ranking_table(report: ComparisonReport, *, limit: int | None = None) -> str:
    """Return a table of the ranked trials with their parameters; `limit` keeps the best."""
    return _trials(report.ranking[:limit], columns(report, View.MARKDOWN_RANKED))


def _trials(trials: Sequence[TrialFacts], shown: Sequence[Column], *, text_columns: int = 0) -> str:
    rows = [[column.text(trial) for column in shown] for trial in trials]
    return table([column.label for column in shown], rows, text_columns=text_columns)


def _opening(report: ComparisonReport) -> str:
    metric, best = formatting.label(report.study.metric), report.best
    lines = [f"{formatting.counts(report.counts).capitalize()}.", ""]
    if left_out := formatting.never_started(report.never_started):
        lines[0] += f" {left_out}."
    if report.provisional:
        lines[0] += " Not all trials are finished: all of this is provisional."
    if best is None:
        return "\n".join([*lines, "No trial is ranked: none has completed with finite scores."])
    gain = "" if best.gain is None else f", {formatting.signed(best.gain)} against the untuned base"
    lines += [
        " ".join([f"**{escaped(report.verdict[0])}**", *map(escaped, report.verdict[1:])]),
        "",
        f"Best value: trial {best.number}, {metric} {formatting.score(best.value)} on eval.select{gain}.",
        "",
        *([tie, ""] if (tie := tie_note(report)) else []),
        *([line, ""] if (line := choice_line(report)) else []),
        *([line, ""] if (line := picked_line(report.choice, report.findings)) else []),
    ]
    lines += [f"- {escaped(name)}: {escaped(formatting.parameter(v))}" for name, v in best.params.items()]
    if (winner := report.winner) is not None and winner.adapter:
        whose = "Its adapter" if winner is best else f"The adapter of trial {winner.shown}"
        lines += ["", f"{whose} is in `{winner.adapter}` of the study folder."]
    if report.findings and report.findings.chance_of_change is not None:
        lines += ["", further_line(report.findings)]
    return "\n".join(lines)


def _interval_note(report: ComparisonReport) -> list[str]:
    how = report.uncertainty
    if how is None:
        return []
    return [
        f"Intervals: {how.level:.0%}, by {how.resamples} bootstrap resamples of {how.units} {how.unit}s, "
        "each trial taken alone. They do not say which trials are tied."
    ]


def _retrained(report: ComparisonReport) -> list[str]:
    if report.retrained is None:
        return [f"{ONE_RUN} `loratory confirm` trains the best settings again on new seeds."]
    rows = table(list(HEADS), retrained_rows(report.retrained), text_columns=1)
    return ["## Retrained settings", *map(escaped, retrained_notes(report)), rows]


def _importance(report: ComparisonReport) -> list[str]:
    rows = [[name, f"{share:.0%}"] for name, share in report.importance.shares.items()]
    note = f"Importance of the parameters: {report.importance.note}"
    return [*([table(["parameter", "share"], rows, text_columns=1)] if rows else []), note]


def _samples(report: ComparisonReport) -> list[str]:
    parts = [f"{len(report.samples)} examples of eval.select, drawn by a hash of their ids."]
    for sample in report.samples:
        parts += [f"### {escaped(sample.example_id)}", fenced(sample.prompt)]
        parts += ["Reference:", fenced(sample.reference)]
        if sample.base:
            parts += ["Untuned base:", fenced(sample.base.text)]
        parts += ["Published trial:", fenced(sample.best.text)]
    return parts


def _totals(report: ComparisonReport) -> str:
    totals = report.totals
    return "\n".join(
        [
            f"- Device time of all trials: {formatting.duration(totals.device_seconds)}",
            f"- From the first start to the last end: {formatting.duration(totals.elapsed_seconds)}",
            f"- Most trials that trained together on one base: {totals.pack_size}",
            f"- Most memory of a pack: {formatting.size(totals.peak_memory_bytes)}",
            f"- Devices: {escaped(', '.join(totals.devices)) or '–'}",
            f"- Study {report.study.uuid}, seed {report.study.seed}",
        ]
    )
