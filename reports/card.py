"""The model card of a published adapter: metadata for the Hub, and facts for readers to judge it by.

A card contains no path and no example of the data, since anyone can read it.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.base.formats.base_format import FormatWords
from loratory.reports import formatting
from loratory.reports.card_usage import Usage, usage_section
from loratory.reports.card_verdict import headline, looks_at_test, verdict_section
from loratory.reports.comparison_report import ComparisonReport, RankedTrial, ScoredTrial
from loratory.reports.interval_words import interval_method
from loratory.reports.markdown import escaped, table
from loratory.reports.markdown_view import comparison_table, ranking_table, signature_list

MOST_TRIALS = 20
"""Largest number of ranked trials listed in the card."""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Facts in the card beyond the comparison.

    Attributes:
        repo_id: Hub repository of the adapter.
        base_id: the base's Hub id.
        base_revision: commit of the base; None if unknown.
        usage: instructions for loading and prompting the adapter.
        signatures: metric to details of the computation.
        training: every hyperparameter of the trial, sampled and fixed.
        rules: order of the examples and learning rate by update, in sentences.
        dataset_id: Hub id of the training data; None if it is not on the Hub.
        language: language of the answers; None if the study does not name it.
        versions: package versions that the trial ran with.
    """

    repo_id: str
    base_id: str
    base_revision: str | None
    usage: Usage
    signatures: dict[str, str]
    training: dict[str, Any]
    rules: tuple[str, ...]
    dataset_id: str | None
    language: str | None
    versions: dict[str, str]


def model_card(report: ComparisonReport, trial: ScoredTrial, facts: CardFacts) -> str:
    """Return README.md of the repository: YAML metadata, then Markdown.

    Args:
        report: the study's comparison.
        trial: the trial with the published adapter.
        facts: further facts for the card.
    """
    metadata = yaml.safe_dump(
        card_metadata(report, trial, facts), sort_keys=False, allow_unicode=True, width=10_000
    )
    sections = [
        f"---\n{metadata}---",
        f"# {facts.repo_id.partition('/')[2]}",
        _opening(report, trial, facts),
        "## Use",
        usage_section(
            facts.usage, repo_id=facts.repo_id, base_id=facts.base_id, base_revision=facts.base_revision
        ),
        "## Scores",
        comparison_table(report, trial),
        _method(report, trial),
        *signature_list(facts.signatures),
        "## How sure",
        verdict_section(report, trial),
        "## All ranked trials",
        ranking_table(report, limit=MOST_TRIALS),
        f"{formatting.counts(report.counts).capitalize()}. Published: trial {trial.shown}.",
        "## Training",
        table(["hyperparameter", "value"], _hyperparameters(trial, facts), text_columns=2),
        *facts.rules,
        _provenance(report, trial, facts),
        "## Limits",
        _limits(report, trial),
    ]
    return "\n\n".join(sections) + "\n"


def card_metadata(report: ComparisonReport, trial: ScoredTrial, facts: CardFacts) -> dict[str, Any]:
    """Return the card's YAML header as the Hub's documentation of model cards specifies it."""
    optional = {"language": facts.language, "datasets": [facts.dataset_id] if facts.dataset_id else None}
    return {
        "base_model": facts.base_id,
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        **{name: value for name, value in optional.items() if value},
        "tags": [
            f"base_model:adapter:{facts.base_id}",
            "lora",
            *_words(facts).tags,
            "transformers",
            "loratory",
        ],
        "model-index": [{"name": facts.repo_id.partition("/")[2], "results": _results(report, trial, facts)}],
    }


def _results(report: ComparisonReport, trial: ScoredTrial, facts: CardFacts) -> list[dict[str, Any]]:
    """Return one result per split. Values are not rounded, so that scoring again can verify them."""
    splits = {"select": trial.metrics}
    outside = (*report.confirm, *report.test)
    splits |= {scores.split: scores.metrics for scores in outside if scores.trial == trial.key}
    return [
        {
            "task": {"type": "text-generation", "name": "Text generation"},
            "dataset": {
                "type": facts.dataset_id or "private",
                "name": f"{report.study.name} ({split})",
                "split": split,
            },
            "metrics": [
                {"type": name, "name": formatting.label(name), "value": value}
                for name, value in metrics.items()
            ],
        }
        for split, metrics in splits.items()
    ]


def _opening(report: ComparisonReport, trial: ScoredTrial, facts: CardFacts) -> str:
    return (
        f"A LoRA adapter for [{facts.base_id}](https://huggingface.co/{facts.base_id}), trained with "
        f"{_words(facts).method}: "
        f"{_place(report, trial)}. {headline(report, trial)}"
    )


def _place(report: ComparisonReport, trial: ScoredTrial) -> str:
    """Return what the adapter is in its study."""
    of = f"of {len(report.ranking)} complete trials of a hyperparameter search"
    if not isinstance(trial, RankedTrial):
        return f"the settings of trial {trial.number} {of}, trained again on a new seed"
    place = "the best" if trial.rank == 1 else f"number {trial.rank}"
    if report.choice is not None and report.choice.candidates and trial is report.winner:
        place += " on `select`, and the choice of `select` and `confirm` together,"
    return f"{place} {of}"


def _words(facts: CardFacts) -> FormatWords:
    return format_of(facts.usage.model.quantization).words


def _method(report: ComparisonReport, trial: ScoredTrial) -> str:
    text = (
        "`select` is the part of the evaluation data that ranks finished trials: training, early stopping "
        "and pruning never saw it. Decoding is greedy."
    )
    if report.choice is not None and report.choice.candidates:
        text += (
            f" `confirm` was never decoded during the search: {len(report.choice.candidates)} of the best "
            f"trials were scored on it at the end, and the {formatting.label(report.study.metric)} over "
            "`select` and `confirm` together chose among them."
        )
    if _won_test(report, trial):
        text += f" {looks_at_test(report)}"
    return " ".join([text, *map(escaped, interval_method(report))])


def _by_how_much(report: ComparisonReport, *, first: bool) -> str:
    """Return the optimism of the best score on select."""
    optimism = report.findings.optimism if report.findings and first else None
    return "" if not optimism else f" (by some {formatting.score(optimism)})"


def _won_test(report: ComparisonReport, trial: ScoredTrial) -> bool:
    return trial is report.winner and any(scores.trial == trial.key for scores in report.test)


def _hyperparameters(trial: ScoredTrial, facts: CardFacts) -> list[list[str]]:
    return [
        [name + (" (searched)" if name in trial.params else ""), formatting.parameter(value)]
        for name, value in facts.training.items()
        if value is not None
    ]


def _provenance(report: ComparisonReport, trial: ScoredTrial, facts: CardFacts) -> str:
    lines = [
        f"- Base: `{facts.base_id}`" + (f" at `{facts.base_revision}`" if facts.base_revision else ""),
        *(f"- Hash of the {escaped(name)}: `{value}`" for name, value in report.study.hashes.items()),
        f"- Study `{report.study.uuid}`, trial {trial.shown}, seed {trial.seed}, "
        f"sampler {report.study.sampler}, pruner {report.study.pruner}",
        f"- Device: {escaped(trial.device) or '–'}, {formatting.duration(trial.device_seconds)} of its time, "
        f"{formatting.size(trial.peak_memory_bytes)} at most",
    ]
    if trial.adapter_sha256:
        lines.append(f"- sha256 of adapter_model.safetensors: `{trial.adapter_sha256}`")
    if facts.versions:
        lines.append("- Versions: " + ", ".join(f"{escaped(k)} {v}" for k, v in facts.versions.items()))
    return "\n".join(lines)


def _limits(report: ComparisonReport, trial: ScoredTrial) -> str:
    lines = ["- Scores compare answers with references word by word; they do not measure truth or safety."]
    first = isinstance(trial, RankedTrial) and trial.rank == 1
    if first or trial is report.winner:
        looks = len(report.findings.test_looks) if report.findings else 0
        again = ", but for the earlier look at it" if looks > 1 else ""
        fair = f"; that on `test` is not{again}" if _won_test(report, trial) else ""
        place = "the first" if first else "among the first"
        lines.append(
            f"- It is {place} of {len(report.scored)} compared on the same examples, so its score on "
            f"`select` is a little flattering{_by_how_much(report, first=first)}{fair}."
        )
    lines.append(
        "- It inherits the base's limits, and its licence may bind the adapter: read the base's card."
    )
    return "\n".join(lines)
