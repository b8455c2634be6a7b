"""Studies that have little, nothing or nonsense to report: each gets its page, and a line that says why."""

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import BASE, StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.csv_view import csv_report
from loratory.reports.html_view import html_report
from loratory.reports.json_view import json_report
from loratory.reports.markdown_view import markdown_report
from loratory.reports.score_files import read_table
from loratory.reports.statistics.aggregates import aggregate_of
from loratory.reports.table import ranking_table
from loratory.spaces.errors import LoratoryError

MakeStudy = Callable[..., StudyFolder]
DONE = TrialState.COMPLETE


def rows(*skills: float, state: TrialState = DONE) -> list[tuple[object, ...]]:
    return [(n, state, skill, 1e-3 * (n + 1), 8, 8, "all-linear") for n, skill in enumerate(skills)]


def seen(report: ComparisonReport) -> dict[str, str]:
    """The texts of the views for people; all views are made."""
    page = html_report(report)
    body = re.sub(r"<script.*?</script>|<style>.*?</style>|<[^>]+>", "", page, flags=re.DOTALL)
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(ranking_table(report))
    assert csv_report(report).startswith("rank,")
    assert ComparisonReport.model_validate_json(json_report(report)) == report
    markdown = markdown_report(report)
    # Sample answers may say anything.
    bare = report.model_copy(update={"samples": ()})
    shown = re.sub(r"<script.*?</script>", "", html_report(bare), flags=re.DOTALL)
    for text in (shown, markdown_report(bare), capture.get()):
        assert not re.findall(r"\bnan\b|\binf\b|\bNone\b(?! is shown)|NaN", text)
    return {"html": html.unescape(body), "markdown": markdown.replace("\\", ""), "terminal": capture.get()}


def rewrite(
    folder: StudyFolder,
    *,
    examples: int | None = None,
    groups: Sequence[str] | None = None,
    like: str | None = None,
) -> None:
    """Give every table and its record the first examples, other groups, or the scores of one trial."""
    for record in folder.read_records():
        _rewrite(folder.trial(record.key), examples, groups, like and folder.trial(like))
        if (table := read_table(folder.trial(record.key))) is not None:
            changed = {"metrics": table.aggregate, "values": [table.aggregate["rougeL"]]}
            folder.write_record(record.model_copy(update=changed))
    _rewrite(folder.score(BASE), examples, groups, None)
    if (base := folder.read_score(BASE)) and (table := read_table(folder.score(BASE))):
        folder.write_score(base.model_copy(update={"metrics": table.aggregate}))


def _rewrite(path: Path, examples: int | None, groups: Sequence[str] | None, like: Path | None) -> None:
    if (table := read_table(like or path)) is None:
        return
    statistics = {name: columns[:examples] for name, columns in table.statistics.items()}
    changed = replace(
        table,
        example_ids=table.example_ids[:examples],
        groups=tuple(groups or table.groups)[:examples],
        metrics={name: values[:examples] for name, values in table.metrics.items()},
        statistics=statistics,
        aggregate={name: float(aggregate_of(name)(s.sum(axis=0))) for name, s in statistics.items()},
    )
    (path / "scores.npz").write_bytes(changed.to_bytes())


@pytest.mark.parametrize(
    "state", [TrialState.PRUNED, TrialState.FAIL, TrialState.INFEASIBLE, TrialState.RUNNING]
)
def test_no_finished_trial(make_study: MakeStudy, state: TrialState) -> None:
    report = compare(make_study(rows(0.3, 0.4, 0.5, state=state), test=False))
    for text in seen(report).values():
        assert "No trial is ranked: none has completed with finite scores." in text
    assert ("not finished" in seen(report)["html"]) == (state is TrialState.RUNNING)
    assert report.findings is None and report.ranks_by_metric == () and report.pareto_fronts == ()


def test_one_finished_trial(make_study: MakeStudy) -> None:
    report = compare(make_study(rows(0.5), test=False))
    for text in seen(report).values():
        assert "Trial 0 is the only one that finished." in text
    (only,) = report.ranking
    assert only.interval is not None and only.gain_interval is not None
    assert report.findings is not None and report.findings.optimism == 0
    assert "too few trials: 1" in seen(report)["markdown"]


def test_identical_files(make_study: MakeStudy) -> None:
    folder = make_study(rows(0.5, 0.5, 0.5, 0.5), test=False)
    rewrite(folder, like="0000")
    report = compare(folder)
    assert {trial.value for trial in report.ranking} == {report.ranking[0].value}
    assert report.findings is not None
    assert [m.behind for m in report.findings.may_be_best] == [0.0] * 4
    assert report.findings.shortfall == 0
    for text in seen(report).values():
        assert "Trials 0, 1, 2 and 3 may be best." in text
        assert "Trials 1, 2 and 3 have exactly the ROUGE-L of trial 0" in text


def test_all_tied(make_study: MakeStudy) -> None:
    folder = make_study(rows(*[0.5] * 8), test=False)
    report = compare(folder)
    assert report.findings is not None and len(report.findings.may_be_best) > 4
    assert report.importance.shown == ()
    seen(report)


def test_every_answer_scores_alike(make_study: MakeStudy) -> None:
    folder = make_study(rows(0.5, 0.4), base=False, test=False)
    for record in folder.read_records():
        table = read_table(folder.trial(record.key))
        assert table is not None
        alike = {"rougeL": np.tile([0.25, 1.0], (len(table.example_ids), 1))}
        flat = replace(table, metrics={}, statistics=alike, aggregate={"rougeL": 0.25})
        (folder.trial(record.key) / "scores.npz").write_bytes(flat.to_bytes())
        folder.write_record(record.model_copy(update={"metrics": {"rougeL": 0.25}, "values": [0.25]}))
    report = compare(folder)
    assert [trial.interval for trial in report.ranking] == [None, None]
    why = "No interval of ROUGE-L for trial 0 and trial 1: every group scores alike"
    assert why in seen(report)["html"] and why in seen(report)["markdown"]


def test_values_that_are_no_numbers(study: StudyFolder) -> None:
    ten = study.trial("0010")
    table = read_table(ten)
    assert table is not None
    spoilt = {name: columns * np.nan for name, columns in table.statistics.items()}
    (ten / "scores.npz").write_bytes(replace(table, metrics={}, statistics=spoilt).to_bytes())
    report = compare(study)
    assert [trial.number for trial in report.ranking if trial.interval is None] == [10]
    assert report.findings is not None and "0010" not in [m.key for m in report.findings.may_be_best]
    assert "for trial 10: its rougeL is not finite on every example" in seen(report)["html"]
    record = study.read_record("0007")
    study.write_record(record.model_copy(update={"values": [float("nan")]}))
    with pytest.raises(
        LoratoryError, match=r"0007/record\.json: .* values\.0: Input should be a finite number"
    ):
        compare(study)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (["one"] * 60, "One group alone says nothing about chance: no intervals."),
        (["one", "two"] * 30, "Few groups (2): intervals are rough."),
    ],
)
def test_few_groups(make_study: MakeStudy, groups: list[str], said: str) -> None:
    folder = make_study(rows(0.5, 0.4, 0.6), test=False)
    rewrite(folder, groups=groups)
    report = compare(folder)
    texts = seen(report)
    assert said in texts["html"] and said in texts["markdown"]
    assert report.uncertainty is not None and report.uncertainty.unit == "group"
    assert all((trial.interval is None) == (len(set(groups)) == 1) for trial in report.ranking)
    assert report.findings is not None
    assert (report.findings.interval is None) == (len(set(groups)) == 1)


def test_one_example(make_study: MakeStudy) -> None:
    folder = make_study(rows(0.5, 0.4, 0.6), test=False)
    rewrite(folder, examples=1)
    report = compare(folder)
    texts = seen(report)
    said = "One example alone says nothing about chance: no intervals."
    assert said in texts["html"] and said in texts["markdown"]
    assert all(trial.interval is None and trial.gain_interval is None for trial in report.ranking)


def test_records_of_version_1(quickstart: StudyFolder) -> None:
    report = compare(quickstart)
    texts = seen(report)
    for text in texts.values():
        assert "Trials 11, 8, 6 and 9 may be best." in text
    p = {found.parameter: found.p for found in report.importance.associations}
    expected = {"learning_rate": 0.17, "rank": 0.40, "batch_size": 0.93, "epochs": 1.0}
    assert p == pytest.approx(expected, abs=0.04)
    for name in ("html", "markdown"):
        assert "Associated with good trials" in texts[name]
        assert "Not told from chance: learning_rate (p = 0.17), rank (p = 0.40)" in texts[name]
        assert "So few trials cannot tell: 20 are needed." in texts[name]
        assert "Not recorded: trials are decoded together" in texts[name]


def test_no_scores_per_example(study: StudyFolder) -> None:
    for path in study.path.glob("**/scores.npz"):
        path.unlink()
    report = compare(study)
    assert report.uncertainty is None
    assert all(trial.interval is None for trial in report.ranking)
    assert report.ranking[0].no_interval["rougeL"] == "no scores per example are kept"
    texts = seen(report)
    for name in ("html", "markdown"):
        assert "No interval: no trial has scores per example" in texts[name]
    assert "Without scores per example nothing tells how sure that is." in texts["terminal"]


def test_scores_of_one_trial_are_missing(study: StudyFolder) -> None:
    (study.trial("0010") / "scores.npz").unlink()
    report = compare(study)
    assert [trial.number for trial in report.ranking if trial.interval is None] == [10]
    assert report.findings is not None and "0010" in report.findings.left_out
    assert "for trial 10: no scores per example are kept." in seen(report)["markdown"]


def test_a_study_that_still_runs(study: StudyFolder) -> None:
    texts = seen(compare(study))
    assert "not finished, so all of this is provisional" in texts["html"]
    assert "the command that began it goes on with it" in texts["html"]
    assert "all of this is provisional" in texts["markdown"]
