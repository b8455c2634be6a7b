"""The choice of the file: candidates, the pooled mean, and what stands in its place."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.manifest import Manifest
from loratory.objectives.records import AdapterRecord, Provenance, ScoreRecord, TrialRecord, TrialState
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import CONFIRM_BASE, StudyFolder, confirm_key
from loratory.reports.choice import choose, confirm_candidates, select_tables
from loratory.reports.comparison import compare
from loratory.reports.comparison_rows import choice_line, comparison_rows
from loratory.reports.html_view import html_report
from loratory.reports.markdown_view import markdown_report
from loratory.reports.publishing import stage
from loratory.reports.ranking import order
from loratory.reports.score_files import DamagedScoresError
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import Direction
from loratory.spaces.trial import trial_key

SELECT, CONFIRM = 40, 60


def _table(values: Sequence[float], split: str) -> ScoreTable:
    scores = np.array(values, dtype=np.float64)
    ids = tuple(f"{split}-{i}" for i in range(len(scores)))
    mean = float(scores.mean())
    return ScoreTable(
        example_ids=ids,
        groups=ids,
        metrics={"rougeL": scores},
        statistics={},
        signatures={},
        aggregate={"rougeL": mean},
    )


def _values(mean: float, count: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.2, count)
    return mean + noise - noise.mean()


@pytest.fixture
def folder(make_study: Callable[..., StudyFolder]) -> StudyFolder:
    """Six complete trials of nearly one value on select, 0 the best, and a part of eval to confirm."""
    folder = make_study([], base=True, test=False)
    manifest = replace(
        folder.read_manifest(), splits={"train": 9, "dev": 9, "select": SELECT, "confirm": CONFIRM}
    )
    write_atomically(folder.manifest, manifest.to_json().encode())
    for number in range(6):
        _write_trial(folder, number, mean=0.5 - 0.01 * number)
    return folder


def _write_trial(folder: StudyFolder, number: int, *, mean: float) -> None:
    key, table = f"{number:04d}", _table(_values(mean, SELECT, number), "select")
    write_atomically(folder.trial(key) / "scores.npz", table.to_bytes())
    record = TrialRecord(
        study="u",
        key=key,
        number=number,
        state=TrialState.COMPLETE,
        params={"rank": 8},
        values=[table.aggregate["rougeL"]],
        metrics=table.aggregate,
        adapter=AdapterRecord(sha256="a", size_bytes=1, step=1),
        provenance=Provenance(seed=number),
    )
    folder.write_record(record)


def _score_on_confirm(folder: StudyFolder, means: dict[int | None, float], count: int = CONFIRM) -> None:
    for number, mean in means.items():
        key = CONFIRM_BASE if number is None else confirm_key(f"{number:04d}")
        table = _table(_values(mean, count, 100 + (number or 0)), "confirm")
        write_atomically(folder.score(key) / "scores.npz", table.to_bytes())
        folder.write_score(
            ScoreRecord(
                study="u",
                key=key,
                split="confirm",
                trial=None if number is None else trial_key(number),
                number=number,
                metrics=table.aggregate,
                provenance=Provenance(seed=0),
            )
        )


def _chosen(folder: StudyFolder):
    manifest = folder.read_manifest()
    ordered = order(folder.read_records(), Direction.MAXIMIZE)
    return choose(folder, ordered, manifest=manifest, tables=select_tables(folder, ordered))


def test_the_best_five_that_kept_their_adapters_are_candidates(folder: StudyFolder) -> None:
    record = folder.read_record("0001")
    assert record.adapter is not None
    gone = record.model_copy(update={"adapter": record.adapter.model_copy(update={"removed": "disk"})})
    folder.write_record(gone)
    ordered = order(folder.read_records(), Direction.MAXIMIZE)
    keys = confirm_candidates(ordered, select_tables(folder, ordered), folder.read_manifest().spec)
    assert keys == ("0000", "0002", "0003", "0004", "0005")


def test_the_pooled_mean_of_select_and_confirm_chooses(folder: StudyFolder) -> None:
    means = {None: 0.1, 0: 0.4, 1: 0.42, 2: 0.5, 3: 0.41, 4: 0.43}
    _score_on_confirm(folder, means)
    choice = _chosen(folder)
    assert choice is not None
    assert (choice.key, choice.number, choice.examples) == ("0002", 2, SELECT + CONFIRM)
    assert choice.candidates == ("0000", "0001", "0002", "0003", "0004")
    for number in range(5):
        expected = (SELECT * (0.5 - 0.01 * number) + CONFIRM * means[number]) / (SELECT + CONFIRM)
        assert choice.pooled[f"{number:04d}"] == pytest.approx(expected)


def test_equal_means_go_to_the_better_on_select(folder: StudyFolder) -> None:
    _score_on_confirm(folder, {n: 0.4 + 0.01 * n * SELECT / CONFIRM for n in range(5)})
    choice = _chosen(folder)
    assert choice is not None and len({round(value, 9) for value in choice.pooled.values()}) == 1
    best = max(choice.pooled.values())
    assert choice.key == next(key for key in choice.candidates if choice.pooled[key] == best)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("confirm/0002", "confirm/0002/scores.npz, by which eval.confirm would choose, is damaged"),
        ("trials/0002", "scores of trial 2 are damaged, so eval.confirm cannot choose"),
    ],
)
def test_damaged_scores_of_a_candidate_leave_the_choice_to_select_and_views_say_so(
    folder: StudyFolder, place: str, why: str
) -> None:
    _score_on_confirm(folder, {None: 0.1, 0: 0.4, 1: 0.42, 2: 0.5, 3: 0.41, 4: 0.43})
    (folder.path / place / "scores.npz").write_bytes(b"torn")
    choice = compare(folder).choice
    assert choice is not None and (choice.key, choice.why) == ("0000", why)
    with pytest.raises(DamagedScoresError, match="restore the file"):
        _chosen(folder)
    with pytest.raises(InputError, match=f"not known while scores are damaged: {place}/scores.npz; restore"):
        stage(folder, trial=None, repo_id="me/adapter")


def test_damaged_scores_of_others_leave_the_choice_as_it_is(folder: StudyFolder) -> None:
    _score_on_confirm(folder, {None: 0.1, 0: 0.4, 1: 0.42, 2: 0.5, 3: 0.41, 4: 0.43})
    before = compare(folder).choice
    (folder.trial("0005") / "scores.npz").write_bytes(b"torn")
    after = compare(folder)
    assert after.choice == before and after.damaged.keys() == {"trials/0005/scores.npz"}


def test_until_all_candidates_are_scored_the_best_on_select_stands(folder: StudyFolder) -> None:
    _score_on_confirm(folder, {0: 0.1, 1: 0.9, 2: 0.1, 3: 0.1})
    choice = _chosen(folder)
    assert choice is not None and (choice.key, choice.candidates) == ("0000", ())
    assert "after the last trial" in choice.why
    _score_on_confirm(folder, {4: 0.1})
    again = _chosen(folder)
    assert again is not None and again.key == "0001"


@pytest.mark.parametrize("splits", [None, {"train": 9, "select": SELECT, "confirm": 0}])
def test_without_confirm_the_best_on_select_is_published_and_it_is_said(folder, splits) -> None:
    manifest: Manifest = replace(folder.read_manifest(), splits=splits)
    write_atomically(folder.manifest, manifest.to_json().encode())
    report = compare(folder)
    assert report.winner is report.best
    assert choice_line(report) == (
        "Published is trial 0, the best on eval.select: this study has no eval.confirm."
    )


def test_without_scores_per_example_the_best_on_select_is_published_and_it_is_said(folder) -> None:
    for path in folder.path.glob("trials/*/scores.npz"):
        path.unlink()
    line = choice_line(compare(folder))
    assert line is not None and line.startswith(
        "Published is trial 0, the best on eval.select: trials have no"
    )


def test_a_candidate_without_a_finite_score_on_confirm_is_not_chosen(folder: StudyFolder) -> None:
    _score_on_confirm(folder, dict.fromkeys(range(5), 0.4))
    broken = _table([np.nan] * CONFIRM, "confirm")
    write_atomically(folder.score("confirm/0000") / "scores.npz", broken.to_bytes())
    choice = _chosen(folder)
    assert choice is not None and "0000" not in choice.candidates and choice.key == "0001"


def test_no_ranked_trial_no_choice(make_study) -> None:
    report = compare(make_study([], base=False, test=False))
    assert (report.choice, report.winner, choice_line(report)) == (None, None, None)


def test_report_and_card_are_about_the_file_that_is_published(folder: StudyFolder, tmp_path: Path) -> None:
    _score_on_confirm(folder, {None: 0.1, 0: 0.4, 1: 0.42, 2: 0.5, 3: 0.41, 4: 0.43})
    report = compare(folder)
    assert report.best is not None and report.winner is not None
    assert (report.best.number, report.winner.number) == (0, 2)
    line = choice_line(report)
    assert line is not None
    assert line.startswith(
        "Published is trial 2: of trials 0, 1, 2, 3 and 4, which may be the best and were scored on "
        "eval.confirm too, it has the best value on eval.select and eval.confirm together "
        "(ROUGE-L 0.4920 on 100 examples). On eval.confirm alone, less what this choice flatters: 0.4"
    )
    assert line.endswith("(95%, 60 examples).")
    choice = report.choice
    assert choice is not None and choice.interval is not None and choice.expected is not None
    assert choice.interval.low < choice.expected <= choice.interval.high and choice.expected < 0.5
    assert line in html_report(report) and line in markdown_report(report)
    assert [scores.number for scores in report.confirm] == [None, 0, 1, 2, 3, 4]
    assert [(row.model, row.split) for row in comparison_rows(report)][-3:] == [
        ("trial 2 (published)", "select"),
        ("untuned base", "confirm"),
        ("trial 2", "confirm"),
    ]


def test_publish_without_a_trial_takes_the_choice(make_study: Callable[..., StudyFolder]) -> None:
    """Three trials that cannot be told apart on select, of which the last wins on confirm."""
    rows = [(number, TrialState.COMPLETE, 0.6, 1e-3, 8, 8, "all-linear") for number in range(3)]
    study = make_study(rows, test=False)
    manifest = replace(study.read_manifest(), splits={"select": 60, "confirm": CONFIRM})
    write_atomically(study.manifest, manifest.to_json().encode())
    ordered = [record.row for record in order(study.read_records(), Direction.MAXIMIZE)]
    _score_on_confirm(study, dict(zip(ordered, (0.2, 0.2, 0.9), strict=True)))
    staged = stage(study, trial=None, repo_id="me/adapter")
    assert (staged.trial, stage(study, trial=ordered[0], repo_id="me/adapter").trial) == (
        ordered[2],
        ordered[0],
    )
    stage(study, trial=None, repo_id="me/adapter")
    card = (staged.path / "README.md").read_text()
    assert "number 3 on `select`, and the choice of `select` and `confirm` together, of 3 complete" in card
    assert "3 of the best trials were scored on it at the end" in card
    assert "split: confirm" in card and "It is among the first of 3" in card
