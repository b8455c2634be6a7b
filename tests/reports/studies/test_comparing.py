"""Studies compared by what they publish."""

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.records import TrialState
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import TEST_WINNER, StudyFolder, confirm_key, later_look_key
from loratory.reports import choice
from loratory.reports.choice import choose
from loratory.reports.decision import decide_studies
from loratory.reports.statistics.paired import Verdict
from loratory.reports.statistics.resamples import resamples
from loratory.reports.studies import parts
from loratory.reports.studies.comparing import compare_studies
from loratory.reports.studies.html_view import bars
from loratory.reports.studies.words import part_note, value_heads
from loratory.reports.studies.writing import studies_json
from loratory.spaces.errors import InputError

ARCHIVE = Path(__file__).parents[2] / "version_1" / "quickstart.tar.gz"


@pytest.fixture
def pair(plain_study):
    """Two studies on the same eval; the first is better on test, nothing tells them apart on select."""
    one = plain_study("one", {0: 0.5, 3: 0.3}, test={None: 0.1, 0: 0.6})
    two = plain_study("two", {5: 0.5}, test={None: 0.2, 5: 0.5}, seed=1, model={"base": "acme/other"})
    return [one, two]


def _changed(path, **fields):
    write_atomically(path, replace(ScoreTable.from_bytes(path.read_bytes()), **fields).to_bytes())


def _by_group(path):
    values = ScoreTable.from_bytes(path.read_bytes()).metrics["rougeL"]
    return values.reshape(30, 2).mean(axis=1)


def test_test_comes_first_and_its_difference_is_that_of_the_paired_t_test(pair):
    found = compare_studies(pair)
    part, select = found.parts
    assert (part.split, part.picked, select.split, select.picked) == ("test", False, "select", True)
    (difference,) = part.differences
    wanted = ttest_rel(*(_by_group(folder.score(TEST_WINNER) / "scores.npz") for folder in pair))
    ends = wanted.confidence_interval(0.95)
    assert difference.gain == pytest.approx(0.1)
    assert (difference.interval.low, difference.interval.high) == pytest.approx((ends.low, ends.high))
    assert (difference.verdict, part.unit, part.units) == (Verdict.BETTER, "group", 30)
    assert part.values == pytest.approx({"one": 0.6, "two": 0.5})
    assert part.intervals["one"].low < 0.6 < part.intervals["one"].high
    assert not select.intervals


def test_the_verdict_says_each_part_and_no_word_on_settings(pair):
    found = compare_studies(pair)
    assert found.verdict[0].startswith(
        "On test: one (trial 0) is better than two (trial 5), ROUGE-L 0.6000 against 0.5000, +0.1000 ["
    )
    assert found.verdict[1].startswith("On select: cannot tell one (trial 0) from two (trial 5)")
    assert "settings" not in " ".join(found.verdict)


def test_it_agrees_with_decide_on_the_same_examples(pair):
    part = compare_studies(pair).parts[1]
    comparison = decide_studies(*pair).comparison
    (difference,) = part.differences
    assert (difference.gain, difference.interval.low) == pytest.approx((comparison.gain, comparison.low))


def test_facts_stand_beside_it(pair):
    one, two = compare_studies(pair).studies
    assert (one.label, one.published, one.base_model) == ("one", "0000", "acme/tiny-llama")
    assert (two.label, two.published_shown, two.base_model) == ("two", "5", "acme/other")
    assert one.base_values == pytest.approx({"select": 0.1, "test": 0.1})
    assert {gain.split: gain.gain for gain in two.gains} == pytest.approx({"select": 0.4, "test": 0.3})
    assert (one.adapter_bytes, one.published_device_seconds) == (2**20, 20.0)
    assert (one.totals.device_seconds, two.totals.device_seconds) == (40.0, 20.0)
    assert one.counts[TrialState.COMPLETE] == 2


def test_of_three_studies_those_that_may_be_best_are_named(plain_study):
    studies = [plain_study(name, {0: mean}, seed=i) for i, (name, mean) in enumerate(MEANS.items())]
    found = compare_studies(studies)
    (part,) = found.parts
    assert part.may_be_best == ("b", "a")
    assert [(d.first, d.second) for d in part.differences] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found.verdict == ("On select: of 3 studies b and a may have the best adapter.",)
    assert "Each interval holds for itself" in part_note(part)


MEANS = {"a": 0.5, "b": 0.501, "c": 0.3}


def test_confirm_counts_where_all_have_it(plain_study):
    confirm = {None: 0.1, 0: 0.7}
    one = plain_study("one", {0: 0.5}, confirm=confirm)
    two = plain_study("two", {0: 0.4}, confirm=confirm, seed=1)
    (part,) = compare_studies([one, two]).parts
    assert (part.split, part.examples, part.picked) == ("select and confirm", 120, True)
    assert part.values == pytest.approx({"one": 0.6, "two": 0.55})
    without = plain_study("three", {0: 0.4}, seed=2)
    found = compare_studies([one, without])
    assert found.parts[0].split == "select"
    assert f"Compared on select alone: trial 0 of {without.path} has no scores on confirm." in found.notes


def test_what_is_missing_or_differs_is_said(plain_study):
    one = plain_study("one", {0: 0.5}, test={0: 0.5}, evaluation={"max_new_tokens": 32})
    two = plain_study("two", {0: 0.4}, seed=1)
    notes = compare_studies([one, two]).notes
    assert f"Not compared on test: trial 0 of {two.path} has no scores there." in notes
    assert "The evaluations differ in evaluation.max_new_tokens: 32 in one, 64 in two." in notes


def test_scores_on_test_of_another_adapter_do_not_count(pair, plain_trial):
    plain_trial(pair[0], "0007", 0.9, number=7)
    found = compare_studies(pair)
    assert [part.split for part in found.parts] == ["select"]
    assert found.studies[0].published == "0007"


def test_studies_of_one_name_are_told_apart_by_their_folders(plain_study):
    one, two = plain_study("a/same", {0: 0.5}), plain_study("b/same", {0: 0.4}, seed=1)
    labels = [study.label for study in compare_studies([one, two]).studies]
    assert labels == [f"same ({one.path})", f"same ({two.path})"]


def test_a_running_study_is_provisional(pair):
    record = pair[0].read_record("0003")
    pair[0].write_record(record.model_copy(update={"state": TrialState.RUNNING, "values": None}))
    assert [study.provisional for study in compare_studies(pair).studies] == [True, False]


def test_one_study_twice_is_refused(pair, plain_study):
    with pytest.raises(InputError, match=r"must name different studies; .* are one and the same \(uuid"):
        compare_studies([pair[0], pair[1], pair[0]])
    with pytest.raises(InputError, match="two studies or more to compare, got 1"):
        compare_studies(pair[:1])


def test_a_study_without_finished_trials_is_refused(pair, plain_study):
    empty = plain_study("empty", {}, seed=3)
    with pytest.raises(InputError, match=f"{empty.path}: no trial has finished, so there is nothing"):
        compare_studies([*pair, empty])
    with pytest.raises(InputError, match="must be a study folder, has no study"):
        compare_studies([*pair, StudyFolder(empty.path.parent)])


def test_other_metrics_are_refused(pair, plain_study):
    other = plain_study("other", {0: 0.5}, seed=3, metric="bleu")
    with pytest.raises(InputError, match=r"compared by the same metric; .*one has rougeL, .*other bleu"):
        compare_studies([*pair, other])


def test_another_eval_is_refused(pair, plain_study):
    other = plain_study("other", {0: 0.5}, seed=3, examples_of="other-")
    wanted = r"same examples; 0 of 60 and 60 are shared on select: studies draw the same eval from"
    with pytest.raises(InputError, match=wanted):
        compare_studies([*pair, other])


@pytest.mark.parametrize("split", ["confirm", "test"])
def test_another_part_of_eval_is_refused(plain_study, split):
    one, two = (
        plain_study(name, {0: 0.5}, confirm={0: 0.5}, test={0: 0.5}, seed=seed)
        for seed, name in enumerate(("one", "two"))
    )
    key = TEST_WINNER if split == "test" else confirm_key("0000")
    _changed(two.score(key) / "scores.npz", example_ids=tuple(f"x{i}" for i in range(60)))
    with pytest.raises(InputError, match=f"same examples; 0 of 60 and 60 are shared on {split}"):
        compare_studies([one, two])


def test_another_signature_is_refused(pair):
    _changed(pair[1].trial("0005") / "scores.npz", signatures={"rougeL": "stemmed"})
    with pytest.raises(InputError, match="rougeL was computed as 'own' and as 'stemmed' on select"):
        compare_studies(pair)


def test_scores_that_are_missing_or_not_finite_are_refused(pair):
    path = pair[1].trial("0005") / "scores.npz"
    table = ScoreTable.from_bytes(path.read_bytes())
    holed = table.metrics["rougeL"].copy()
    holed[3] = np.nan
    _changed(path, metrics={"rougeL": holed})
    with pytest.raises(InputError, match="two cannot be compared on select: its rougeL is not finite"):
        compare_studies(pair)
    path.unlink()
    with pytest.raises(InputError, match=r"two: trial 5 has no scores on select \(complete\)"):
        compare_studies(pair)


def test_studies_of_version_1(tmp_path):
    folders = []
    for name in ("one", "two"):
        with tarfile.open(ARCHIVE) as packed:
            packed.extractall(tmp_path / name, filter="data")
        folders.append(StudyFolder(tmp_path / name / "quickstart"))
    written = folders[1].manifest.read_text("utf-8")
    uuid = folders[1].read_manifest().uuid
    folders[1].manifest.write_text(written.replace(uuid, "another"))
    shown = folders[1].trial("0011") / "record.json"
    shown.unlink()
    found = compare_studies(folders)
    assert [study.published for study in found.studies] == ["0011", "0008"]
    (part,) = found.parts
    assert (part.split, part.examples, part.unit, part.units) == ("select", 150, "group", 30)
    assert part.differences[0].examples_needed == 10_605
    assert any(note.startswith("Not compared on test") for note in found.notes)


def test_one_unit_on_test_leaves_the_other_parts(pair):
    for study in pair:
        _changed(study.score(TEST_WINNER) / "scores.npz", groups=("one",) * 60)
    found = compare_studies(pair)
    assert [part.split for part in found.parts] == ["select"]
    assert "Not compared on test: one unit alone says nothing about chance." in found.notes


def test_one_unit_everywhere_is_refused(pair):
    for study, trial in zip(pair, ("0000", "0005"), strict=True):
        for path in (study.trial(trial), study.score(TEST_WINNER)):
            _changed(path / "scores.npz", groups=("one",) * 60)
    with pytest.raises(InputError, match="compared on 2 units or more, there is 1 on test and select"):
        compare_studies(pair)


def test_the_order_of_the_studies_changes_no_draw(plain_study, monkeypatch):
    studies = [plain_study(name, {0: mean}, seed=i) for i, (name, mean) in enumerate(MEANS.items())]
    for index, study in enumerate(studies):
        manifest = study.read_manifest()
        seeded = manifest.spec.model_copy(update={"seed": index + 5})
        study.manifest.write_text(replace(manifest, spec=seeded).to_json())
    seeds = []

    def drawn(units, *, seed):
        seeds.append(seed)
        return resamples(units, seed=seed)

    monkeypatch.setattr(parts, "resamples", drawn)
    for order in (studies, studies[::-1]):
        compare_studies(order)
    assert seeds == [5, 5]


def test_each_choice_is_made_once(pair, monkeypatch):
    made = []

    def counted(*arguments, **options):
        made.append(arguments)
        return choose(*arguments, **options)

    monkeypatch.setattr(choice, "choose", counted)
    compare_studies(pair)
    assert len(made) == len(pair)


def test_values_of_the_base_are_of_the_same_examples(plain_study):
    confirm = {None: 0.3, 0: 0.5}
    studies = [plain_study(name, {0: 0.5}, confirm=confirm, seed=seed) for seed, name in enumerate("ab")]
    report = compare_studies(studies)
    (part,) = report.parts
    assert part.split == "select and confirm"
    assert part.base_values == pytest.approx({"a": 0.2, "b": 0.2}, abs=1e-9)
    assert value_heads(report, part)[1:] == [
        "ROUGE-L on select and confirm",
        "base on select and confirm",
        "gain on confirm, less what the choice by it adds",
    ]


def test_a_later_look_at_test_is_said(pair, plain_trial):
    one, _ = pair
    earlier = one.read_looks()
    report = compare_studies(pair)
    assert not any("Test was looked at" in note for note in report.notes) and len(earlier) == 1
    plain_trial(one, "0007", 0.9, number=7)
    look = one.read_score(TEST_WINNER).model_copy(
        update={"key": later_look_key("0007"), "trial": "0007", "number": 7, "scored_at": "2026-02-01"}
    )
    shutil.copytree(one.score(TEST_WINNER), one.score(look.key))
    one.write_score(look)
    notes = compare_studies(pair).notes
    assert any(note.startswith("one: Test was looked at twice: first for trial 0.") for note in notes)


def test_the_same_difference_everywhere_has_no_interval(plain_study):
    studies = [plain_study(name, {0: 0.5}) for name in "ab"]
    path = studies[1].trial("0000") / "scores.npz"
    table = ScoreTable.from_bytes((studies[0].trial("0000") / "scores.npz").read_bytes())
    moved = {"rougeL": table.metrics["rougeL"] + 0.01}
    _changed(path, metrics=moved, statistics={}, aggregate={"rougeL": table.aggregate["rougeL"] + 0.01})
    report = compare_studies(studies)
    (found,) = report.parts[0].differences
    assert (found.interval, found.verdict, found.examples_needed) == (None, Verdict.CANNOT_TELL, None)
    assert "(no interval: all differ alike)" in report.verdict[0]
    assert bars(report.parts[0]) == []
    json.loads(studies_json(report), parse_constant=lambda name: pytest.fail(name))
