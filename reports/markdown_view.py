"""report.md: the comparison as Markdown, for a repository, an issue or a chat."""

from collections.abc import Sequence
from pathlib import Path

from loratory.reports import formatting
from loratory.reports.columns import Column, View, columns
from loratory.reports.comparison_report import ComparisonReport, ScoredTrial, TrialFacts
from loratory.reports.comparison_rows import (
    ComparisonRow,
    best_line,
    choice_line,
    comparison_rows,
    metric_names,
    picked_line,
    tie_note,
    usual_folder,
)
from loratory.reports.interval_words import DEV, SINGLE_TRAININGS, interval_notes
from loratory.reports.markdown import code, escaped, fenced, table
from loratory.reports.retrained_words import HEADS, ONE_RUN, retrained_notes, retrained_rows
from loratory.reports.statistics.importance import TITLE
from loratory.reports.trade_off_words import (
    PLACES,
    cost_note,
    front_rows,
    metric_sentences,
    rank_heads,
    rank_rows,
)
from loratory.reports.verdict import further_line
from loratory.spaces.command_line import command


def markdown_report(report: ComparisonReport, folder: str | Path | None = None) -> str:
    """Return the comparison as Markdown.

    Args:
        report: the comparison.
        folder: the study folder as it was given, for commands; None: where `loratory run` makes it.
    """
    folder = folder or usual_folder(report)
    parts = [f"# {escaped(report.study.name)}", _opening(report, folder)]
    if report.best:
        parts += ["## Base, median and best", comparison_table(report)]
        parts += signature_list(report.signatures)
        parts += ["## Ranking", ranking_table(report), *_bullets(interval_notes(report))]
        parts += _retrained(report, folder)
        parts += _other_metrics(report)
        parts += _costs(report, folder)
        parts += [f"## {TITLE}", *_importance(report)]
    if report.unranked:
        unranked = columns(report, View.MARKDOWN_UNRANKED)
        parts += ["## Not ranked", _trials(report.unranked, unranked, text_columns=3), DEV]
    if report.samples:
        parts += ["## Sample answers", *_samples(report)]
    parts += ["## What it took", _totals(report)]
    return "\n\n".join(parts) + "\n"


def comparison_table(report: ComparisonReport, published: ScoredTrial | None = None) -> str:
    """Return a table of every metric of base, median, best and the published trial."""
    names = metric_names(report)
    rows = [
        [row.model, row.split, *(_with_ends(row, name) for name in names)]
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


def _opening(report: ComparisonReport, folder: str | Path) -> str:
    best = report.best
    lines = [f"{formatting.counts(report.counts).capitalize()}.", ""]
    if left_out := formatting.never_started(report.never_started):
        lines[0] += f" {left_out}."
    if report.provisional:
        lines[0] += " Not all trials are finished: all of this is provisional."
    if best is None:
        return "\n".join([*lines, "No trial is ranked: none has completed with finite scores."])
    lines += [
        " ".join([f"**{escaped(report.verdict[0])}**", *map(escaped, report.verdict[1:])]),
        "",
        best_line(report),
        "",
        *([tie, ""] if (tie := tie_note(report)) else []),
        *([line, ""] if (line := choice_line(report)) else []),
        *([line, ""] if (line := picked_line(report.choice, report.findings)) else []),
    ]
    lines += [f"- {escaped(name)}: {escaped(formatting.parameter(v))}" for name, v in best.params.items()]
    if (winner := report.winner) is not None and winner.adapter:
        whose = "Its adapter" if winner is best else f"The adapter of trial {winner.shown}"
        lines += ["", f"{whose} is in `{winner.adapter}` of the study folder."]
    if report.publish and (publish := report.publish.command(folder)):
        lines += ["", f"Publish it: {code(publish)}"]
    if report.publish and report.publish.note:
        lines += ["", escaped(report.publish.note)]
    if report.findings and further_line(report.findings):
        lines += ["", further_line(report.findings)]
    return "\n".join(lines)


def _with_ends(row: ComparisonRow, metric: str) -> str:
    value, ends = formatting.score(row.metrics.get(metric)), row.ends(metric)
    return f"{value} {ends}" if ends else value


def _bullets(sentences: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {escaped(sentence)}" for sentence in sentences)] if sentences else []


def _other_metrics(report: ComparisonReport) -> list[str]:
    sentences = metric_sentences(report)
    if not sentences:
        return []
    rows = rank_rows(report)
    places = [table(rank_heads(report), rows, text_columns=1), PLACES] if rows else []
    return ["## Other metrics", escaped(" ".join(sentences)), *places]


def _costs(report: ComparisonReport, folder: str | Path) -> list[str]:
    rows = front_rows(report)
    fronts = table(["cost", "Pareto front, the cheapest first", ""], rows, text_columns=3)
    return ["## Quality and cost", escaped(cost_note(report, folder)), fronts] if rows else []


def _retrained(report: ComparisonReport, folder: str | Path) -> list[str]:
    if report.retrained is None:
        confirm = code(command("confirm", folder))
        return [f"{ONE_RUN} {confirm} trains the best settings again on new seeds."]
    rows = table(list(HEADS), retrained_rows(report.retrained), text_columns=1)
    return ["## Retrained settings", *map(escaped, retrained_notes(report)), SINGLE_TRAININGS, rows]


def _importance(report: ComparisonReport) -> list[str]:
    found = report.importance
    rows = [[each.parameter, formatting.chance(each.p)] for each in found.shown]
    lines = [table(["parameter", "p"], rows, text_columns=1)] if rows else []
    if found.associations and not rows:
        lines.append("No parameter: chance alone may give what is seen here.")
    if found.not_shown:
        named = (f"{each.parameter} (p = {formatting.chance(each.p)})" for each in found.not_shown)
        lines.append(escaped(f"Not told from chance: {', '.join(named)}."))
    return [*lines, escaped(f"{found.note} An association is no cause.")]


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
            "",
            formatting.TIMES,
        ]
    )
