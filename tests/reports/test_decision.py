"""Two adapters compared: by trial, by files, by confirm too where both have it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, confirm_key
from loratory.reports import choice
from loratory.reports.decision import decide, decide_studies
from loratory.reports.decision_words import decision_lines
from loratory.reports.statistics.paired import Verdict
from loratory.spaces.errors import InputError, LoratoryError


@pytest.fixture
def study(plain_study):
    """Trial 0 is best on select, 1 on confirm; 2 has no scores on confirm."""
    confirm = {None: 0.1, 0: 0.44, 1: 0.56}
    return plain_study("one", {0: 0.52, 1: 0.5, 2: 0.3}, confirm=confirm)


def test_confirm_counts_where_both_sides_have_it(study):
    found = decide(study, "1", "0")
    assert (found.split, found.comparison.examples, found.comparison.units) == ("select and confirm", 120, 60)
    assert found.comparison.values == pytest.approx((0.53, 0.48))
    assert found.comparison.verdict is Verdict.BETTER
    lines = decision_lines(found)
    assert lines[0].endswith("0.5300 against 0.4800 on select and confirm")
    assert "paired over 120 examples in 60 groups" in lines[1]
    assert decide(study, "1", "base").split == "select and confirm"


def test_select_alone_counts_where_one_side_has_no_confirm(study):
    found = decide(study, "0", "2")
    assert (found.split, found.comparison.examples) == ("select", 60)
    assert found.comparison.values == pytest.approx((0.52, 0.3))
    assert decision_lines(found)[2] == "select alone: trial 2 has no scores on confirm"
    assert found.to_json()["why_select_alone"] == "select alone: trial 2 has no scores on confirm"


def test_select_alone_counts_where_confirm_has_other_examples(study):
    path = study.score(confirm_key("0001")) / "scores.npz"
    table = ScoreTable.from_bytes(path.read_bytes())
    path.write_bytes(replace(table, example_ids=tuple(f"x{i}" for i in table.example_ids)).to_bytes())
    found = decide(study, "0", "1")
    assert found.split == "select"
    assert found.why_select.startswith(
        "select alone: trial 0 and trial 1 must be scored on the same examples"
    )


def test_select_alone_is_said_where_neither_side_was_scored_on_confirm(study):
    shutil.rmtree(study.score("confirm"))
    found = decide(study, "0", "2")
    assert (found.split, found.why_select) == (
        "select",
        "select alone: trial 0 and trial 2 have no scores on confirm",
    )


def test_studies_with_other_parts_to_confirm_are_refused_as_by_the_report(study, plain_study):
    confirm = {None: 0.1, 0: 0.44, 1: 0.56}
    other = plain_study("two", {0: 0.52, 1: 0.5}, confirm=confirm, seed=1)
    for key in ("0000", "0001"):
        path = other.score(confirm_key(key)) / "scores.npz"
        table = ScoreTable.from_bytes(path.read_bytes())
        path.write_bytes(replace(table, example_ids=tuple(f"x{i}" for i in table.example_ids)).to_bytes())
    with pytest.raises(InputError, match="same examples; 0 of 60 and 60 are shared on confirm"):
        decide_studies(study, other)


@pytest.mark.parametrize(
    ("damaged", "other", "examples"),
    [("trials/0000", "base", 120), ("trials/0002", "0", 120), ("base", "0", 120), ("confirm/0000", "2", 60)],
)
def test_damaged_scores_of_others_stop_no_comparison(study, damaged, other, examples):
    (study.path / damaged / "scores.npz").write_bytes(b"torn")
    assert decide(study, "1", other).comparison.examples == examples


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "it is empty"), (b"PK torn", "it is no whole npz archive")],
)
def test_damaged_scores_of_one_of_them_are_named_in_plain_words(study, content, why):
    path = study.trial("0002") / "scores.npz"
    path.write_bytes(content)
    with pytest.raises(LoratoryError) as told:
        decide(study, "2", "1")
    assert str(told.value) == f"{path}: must be per-example scores, is damaged: {why}; restore the file"


def test_the_choice_is_made_once_per_study(study, monkeypatch):
    made = []
    monkeypatch.setattr(choice, "choose", _counted(choice.choose, made))
    decide(study, "0", "1")
    assert len(made) == 1


def _counted(real, made):
    def call(*arguments, **options):
        made.append(arguments)
        return real(*arguments, **options)

    return call


def test_an_adapter_is_found_by_its_place_and_a_copy_by_its_hash(study, tmp_path):
    copy = shutil.copytree(study.adapter("0001"), tmp_path / "downloads" / "copy")
    for path in (study.adapter("0001"), study.trial("0001"), copy):
        found = decide(study, str(path), "0")
        assert (found.first.name, found.comparison.values[0]) == ("trial 1", pytest.approx(0.53))


def test_an_adapter_of_another_study(study, plain_study, tmp_path):
    other = plain_study("two", {4: 0.4}, seed=1)
    copy = shutil.copytree(other.adapter("0004"), tmp_path / "downloads" / "copy")
    for path in (other.adapter("0004"), copy):
        found = decide(study, "0", str(path))
        assert found.second.name == f"trial 4 of {other.path}"
        assert found.comparison.values == pytest.approx((0.52, 0.4))
        assert found.why_select == f"select alone: trial 4 of {other.path} has no scores on confirm"


def test_a_copy_in_a_study_elsewhere_is_found_around_it(study, plain_study):
    other = plain_study("elsewhere/two", {4: 0.4}, seed=1)
    staged = shutil.copytree(other.adapter("0004"), other.publish)
    assert decide(study, str(staged), "0").first.name == f"trial 4 of {other.path}"


def test_a_trial_whose_adapter_was_deleted_is_found_by_its_folder(study):
    shutil.rmtree(study.adapter("0001"))
    assert decide(study, str(study.trial("0001")), "0").first.name == "trial 1"


def test_an_adapter_that_no_study_has_scored_says_what_to_do(study, plain_study, tmp_path):
    stranger = plain_study("elsewhere/two", {4: 0.4}, seed=1).adapter("0004")
    copy = shutil.copytree(stranger, tmp_path / "copy")
    wanted = (
        rf"no trial of {study.path} or of the studies beside it has this adapter \(sha256 [0-9a-f]{{12}}\)"
    )
    with pytest.raises(InputError, match=wanted) as told:
        decide(study, str(copy), "0")
    assert f"name its study (`loratory decide {study.path} STUDY`), or train its values" in str(told.value)
    with pytest.raises(InputError, match="must be the folder of an adapter, has no adapter_model"):
        decide(study, str(tmp_path), "0")


def test_a_damaged_study_beside_is_passed_over(study, plain_study, tmp_path):
    damaged = plain_study("a-damaged", {0: 0.4}, seed=1)
    (damaged.trial("0000") / "record.json").write_text("{")
    copy = shutil.copytree(plain_study("two", {4: 0.4}, seed=2).adapter("0004"), tmp_path / "downloads" / "c")
    assert decide(study, str(copy), "0").first.name.startswith("trial 4 of")


def test_changed_files_are_refused(study, tmp_path):
    copy = shutil.copytree(study.adapter("0001"), tmp_path / "copy")
    config = json.loads((copy / ADAPTER_CONFIG).read_text())
    published = config | {"base_model_name_or_path": "me/base", "revision": None}
    (copy / ADAPTER_CONFIG).write_text(json.dumps(published))
    assert decide(study, str(copy), "0").first.name == "trial 1"
    (copy / ADAPTER_CONFIG).write_text(json.dumps(config | {"lora_alpha": 64}))
    with pytest.raises(InputError, match="lora_alpha must be 8 as when the adapter was scored, is 64"):
        decide(study, str(copy), "0")
    (study.adapter("0001") / ADAPTER_WEIGHTS).write_bytes(b"other")
    with pytest.raises(
        InputError, match=r"must be the adapter that was scored \(sha256 .*\), is .*; restore"
    ):
        decide(study, str(study.adapter("0001")), "0")


def test_the_names_of_trials_go_before_folders(study, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("1").mkdir()
    assert decide(study, "1", "0").first.name == "trial 1"


def test_seeds_that_would_tell_are_those_of_the_usual_deviation_until_it_is_measured(study, plain_trial):
    found = decide(study, "0", "2")
    # 2 (2.8 * 0.03 * 0.52 / 0.22)^2 is less than the two that a deviation takes.
    assert (found.seeds.needed, found.seeds.measured) == (2, False)
    assert found.seeds.deviation == pytest.approx(0.03 * 0.52)
    for number, values in {0: (0.4, 0.5, 0.6), 2: (0.2, 0.4)}.items():
        for index, value in enumerate(values, start=1):
            plain_trial(study, f"confirm/{number:04d}-{index}", value, number=None)
    found = decide(study, "0", "2")
    deviation = ((0.1**2 + 0.02) / 2) ** 0.5
    assert found.seeds.measured
    assert found.seeds.deviation == pytest.approx(deviation)
    assert found.seeds.needed == -(-2 * (2.8016 * deviation / 0.22) ** 2 // 1)
    told = f"{found.seeds.needed} seeds of each would tell a difference of this size between settings"
    assert decision_lines(found)[-1].startswith(told)


def test_seeds_are_told_of_two_settings_only(study, plain_trial):
    assert decide(study, "0", "base").seeds is None
    plain_trial(study, "confirm/0000-1", 0.5, number=None)
    found = decide(study, "0", "confirm/0000-1")
    assert found.seeds is None and found.second.name == "trial confirm/0000-1"
    assert found.to_json()["seeds_needed"] is None


def test_what_was_picked_on_these_examples_is_named(study, plain_study):
    # 0 is first on select, 1 is published.
    both = decide(study, "0", "1")
    assert both.to_json()["picked_on_these_examples"] == ["trial 0", "trial 1"]
    told = "trial 0 and trial 1 were picked on these examples, which flatters them: see the report"
    assert told in decision_lines(both)
    found = decide(study, "0", "2")
    assert found.to_json()["picked_on_these_examples"] == ["trial 0"]
    assert "trial 0 was picked on these examples, which flatters it: see the report" in decision_lines(found)
    assert decide(study, "2", "base").to_json()["picked_on_these_examples"] == []
    other = plain_study("two", {4: 0.4}, seed=1)
    found = decide_studies(study, other)
    assert len(found.picked) == 2
    assert any(line.startswith("each was picked on these examples") for line in decision_lines(found))


def test_a_model_is_not_compared_with_itself(study):
    for name in ("1", "base"):
        with pytest.raises(InputError, match=r"decide compares two adapters, got .* twice"):
            decide(study, name, name)
