"""Compare the adapters that several studies publish, from their folders alone."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import BASE, CONFIRM_BASE, TEST_BASE, StudyFolder
from loratory.reports.common_scores import BOTH, check_alike, check_confirm, common_scores, lacking
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import ComparisonReport, Scores
from loratory.reports.contenders import Contender, published_of, scores_on_test
from loratory.reports.score_files import read_scoring, read_table
from loratory.reports.statistics.pooled import joined
from loratory.reports.statistics.units import units_of
from loratory.reports.studies.admission import check_comparable, differing_settings
from loratory.reports.studies.parts import compared_part
from loratory.reports.studies.studies_report import ComparedPart, ComparedStudy, StudiesReport
from loratory.reports.studies.words import studies_verdict
from loratory.reports.verdict import looks_line
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec


class _Entry(NamedTuple):
    """A study with its report, its published adapter, and the adapter's scores on test."""

    label: str
    spec: StudySpec
    report: ComparisonReport
    published: Contender
    test: ScoreTable | None


def compare_studies(folders: Sequence[StudyFolder]) -> StudiesReport:
    """Compare the adapters that studies publish.

    Args:
        folders: two study folders or more; they are only read.

    Raises:
        InputError: a study is there twice or has no finished trial, or the studies have different metrics,
            splits or signatures.
        LoratoryError: a record is damaged, or newer than this loratory.
    """
    manifests = [folder.read_manifest() for folder in folders]
    check_comparable(folders, manifests)
    specs = [manifest.spec for manifest in manifests]
    names = Counter(spec.name for spec in specs)
    entries = [
        _entry(folder, spec, spec.name if names[spec.name] == 1 else f"{spec.name} ({folder.path})")
        for folder, spec in zip(folders, specs, strict=True)
    ]
    metric = specs[0].metric
    parts, notes = _parts(entries)
    found = StudiesReport(
        metric=metric,
        direction=specs[0].metric_direction,
        signature=entries[0].published.select.signatures.get(metric, ""),
        studies=tuple(map(_study, entries)),
        parts=parts,
        notes=(*notes, *_looks(entries), *differing_settings([entry.label for entry in entries], specs)),
    )
    return found.model_copy(update={"verdict": studies_verdict(found)})


def _entry(folder: StudyFolder, spec: StudySpec, label: str) -> _Entry:
    report = compare(folder)
    published = published_of(folder, report.choice)
    return _Entry(label, spec, report, published, scores_on_test(published))


def _parts(entries: Sequence[_Entry]) -> tuple[tuple[ComparedPart, ...], list[str]]:
    """Return the comparisons on test, where all have it, and on select; notes say what is missing."""
    spec = entries[0].spec
    names = [entry.published.name for entry in entries]
    check_confirm([entry.published for entry in entries], spec.metric)
    common = common_scores([entry.published for entry in entries], spec.metric)
    tables = {common.split: common.tables}
    notes = [f"Compared on {common.why_select}."] if common.why_select else []
    with_test = [entry.test for entry in entries if entry.test is not None]
    if with_test:
        tested = [entry.published.name for entry in entries if entry.test is not None]
        check_alike(tested, with_test, spec.metric, split="test")
    if len(with_test) == len(entries):
        tables = {"test": tuple(with_test)} | tables
    else:
        missing = [name for name, entry in zip(names, entries, strict=True) if entry.test is None]
        notes.append(f"Not compared on test: {lacking(missing)} no scores there.")
    labels = [entry.label for entry in entries]
    alone = [split for split, of_split in tables.items() if _units(of_split[0]) < 2]
    notes += [f"Not compared on {split}: one unit alone says nothing about chance." for split in alone]
    if len(alone) == len(tables):
        raise InputError(f"studies are compared on 2 units or more, there is 1 on {' and '.join(alone)}")
    parts = (
        compared_part(
            dict(zip(labels, of_split, strict=True)),
            spec.metric,
            spec.metric_direction,
            split=split,
            picked=split != "test",
            seed=min(entry.spec.seed for entry in entries),  # whatever their order
        )
        for split, of_split in tables.items()
        if split not in alone
    )
    return tuple(_with_bases(part, entries) for part in parts), notes


def _looks(entries: Sequence[_Entry]) -> list[str]:
    """Say of which studies test was looked at more than once: then it may have had a say in the choice."""
    found = [(entry.label, entry.report.findings) for entry in entries]
    return [
        f"{label}: {looks_line(findings)} Who saw the first score and went on has used test to choose."
        for label, findings in found
        if findings is not None and len(findings.test_looks) > 1
    ]


def _with_bases(part: ComparedPart, entries: Sequence[_Entry]) -> ComparedPart:
    """Add the value of each study's untuned base on the examples of a part."""
    metric, values = entries[0].spec.metric, {}
    for entry in entries:
        study = entry.published.study
        select, confirm = read_table(study.score(BASE)), read_scoring(study, CONFIRM_BASE)
        if part.split == "test":
            table = read_scoring(study, TEST_BASE)
        elif part.split == BOTH:
            table = joined(select, confirm, metric) if select and confirm else None
        else:
            table = select
        if table is not None and metric in table.aggregate:
            values[entry.label] = table.aggregate[metric]
    return part.model_copy(update={"base_values": values})


def _units(table: ScoreTable) -> int:
    return int(units_of(table.groups)[1].max()) + 1


def _study(entry: _Entry) -> ComparedStudy:
    report, published = entry.report, entry.published
    winner = next(trial for trial in report.scored if trial.key == published.key)
    base = [report.base, *(scores for scores in (*report.confirm, *report.test) if scores.shown is None)]
    return ComparedStudy(
        label=entry.label,
        folder=str(published.study.path),
        uuid=report.study.uuid,
        base_model=report.study.base_model,
        counts=report.counts,
        provisional=report.provisional,
        published=winner.key,
        published_shown=winner.shown,
        why=report.choice.why if report.choice else "",
        params=winner.params,
        adapter_bytes=winner.adapter_bytes,
        published_device_seconds=winner.device_seconds,
        base_values=_values(base, entry.spec.metric),
        gains=report.findings.gains if report.findings else (),
        totals=report.totals,
    )


def _values(scores: Sequence[Scores | None], metric: str) -> dict[str, float]:
    found = {each.split: each.metrics.get(metric) for each in scores if each is not None}
    return {split: value for split, value in found.items() if value is not None}
