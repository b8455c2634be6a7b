"""The verdict of good and bad studies: a right one, or a clear line, in every plain view."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import optuna
import pytest
from rich.console import Console

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.records import Provenance, ScoreRecord, TrialState
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import BASE, TEST_BASE, TEST_WINNER, StudyFolder, later_look_key
from loratory.reports.card_verdict import headline, verdict_section
from loratory.reports.comparison import compare
from loratory.reports.study_verdict import study_verdict, verdict_of
from loratory.reports.trackers.conclusion import read_conclusion
from loratory.reports.verdict_file import StudyVerdict, read_verdict, write_verdict
from loratory.search.dashboard_note import keep_note, read_note
from loratory.search.status import render_status, status_with_verdict
from loratory.spaces.errors import LoratoryError
from loratory.spaces.trial import trial_key

MakeStudy = Callable[..., StudyFolder]
EXAMPLES = 60
RNG = np.random.default_rng(5)
NOISE = RNG.normal(0, 0.1, (8, EXAMPLES))


def table(values: Sequence[float], groups: Sequence[str] | None = None, *, split: str = "") -> ScoreTable:
    ids = tuple(f"{split}{index}" for index in range(len(values)))
    return ScoreTable(
        example_ids=ids,
        groups=tuple(groups) if groups else ids,
        metrics={"rougeL": np.array(values, dtype=np.float64)},
        statistics={},
        signatures={},
        aggregate={"rougeL": float(np.mean(values))},
    )


def complete(folder: StudyFolder, number: int, scores: ScoreTable) -> None:
    """Give a trial of the study these scores."""
    key = trial_key(number)
    record = folder.read_record(key)
    write_atomically(folder.trial(key) / "scores.npz", scores.to_bytes())
    value = scores.aggregate["rougeL"]
    folder.write_record(record.model_copy(update={"values": [value], "metrics": scores.aggregate}))


def row(number: int, state: TrialState = TrialState.COMPLETE) -> tuple[object, ...]:
    return (number, state, 0.5, 1e-3, 8, 8, "all-linear")


@pytest.fixture
def scored(make_study: MakeStudy) -> Callable[..., StudyFolder]:
    """A study whose trials have these scores; no base, no test."""

    def make(*tables: ScoreTable) -> StudyFolder:
        folder = make_study([row(number) for number in range(len(tables))], base=False, test=False)
        for number, scores in enumerate(tables):
            complete(folder, number, scores)
        return folder

    return make


def in_every_view(folder: StudyFolder) -> StudyVerdict:
    """Make every plain view of the verdict; return the verdict, the same in all of them."""
    found = study_verdict(folder)
    report = compare(folder)
    assert (found.verdict, found.findings, found.choice) == (report.verdict, report.findings, report.choice)
    assert verdict_of(report) == found
    status = status_with_verdict(folder)
    assert StudyVerdict(**{name: getattr(status, name) for name in StudyVerdict.model_fields}) == found
    assert type(status).model_validate_json(status.model_dump_json()) == status, "strict JSON, read back"
    console = Console(width=400, record=True)
    console.print(render_status(status))
    text = console.export_text()
    if found.findings is not None:
        assert all(line in text for line in found.lines)
    write_verdict(folder, found)
    assert read_verdict(folder) == found
    rows = optuna.create_study()
    keep_note(rows, found)
    assert "nan" not in " ".join((text, read_note(rows))).lower()
    if report.winner is not None:
        assert read_conclusion(folder, report.winner.key).entries["verdict"] == " ".join(found.lines)
        assert headline(report, report.winner) and verdict_section(report, report.winner)
    return found


def test_no_trial_and_no_finished_trial(make_study):
    states = [row(0, TrialState.PRUNED), row(1, TrialState.FAIL), row(2, TrialState.RUNNING)]
    for rows in ([], states):
        found = in_every_view(make_study(rows))
        assert found.verdict == ("No trial is ranked: none has completed with finite scores.",)
        assert (found.findings, found.choice) == (None, None)


def test_one_trial(scored):
    found = in_every_view(scored(table(0.5 + NOISE[0])))
    assert found.verdict == ("Trial 0 is the only one that finished.",)
    assert found.findings.optimism == pytest.approx(0) and found.findings.shortfall == 0
    assert "Its score less what being picked adds: [" in found.published


def test_identical_files_are_tied(scored):
    found = in_every_view(scored(*[table(0.5 + NOISE[0])] * 3))
    assert found.verdict[0] == "Trials 0, 1 and 2 may be best."
    assert "none of them is better than 0" in found.verdict[1]


def test_all_tied_with_no_spread_at_all(scored):
    found = in_every_view(scored(*[table([0.25] * EXAMPLES)] * 3))
    assert found.verdict[0] == "Trials 0, 1 and 2 may be best."
    assert found.published.endswith("Its scores are all alike and give no interval.")


def test_tied_by_value_alone(scored):
    found = in_every_view(scored(*(table(0.5 + NOISE[n] - NOISE[n].mean()) for n in range(4))))
    assert {member.shown for member in found.findings.may_be_best} == {"0", "1", "2", "3"}
    assert 0 < found.findings.shortfall < 0.1


@pytest.mark.parametrize("name", ["nan", "inf"])
def test_scores_that_are_no_numbers(scored, name):
    folder = scored(*(table(0.5 + NOISE[n]) for n in range(3)))
    broken = table(0.5 + NOISE[1])
    broken.metrics["rougeL"][3] = float(name)
    write_atomically(folder.trial("0001") / "scores.npz", broken.to_bytes())
    found = in_every_view(folder)
    assert set(found.findings.left_out) == {"0001"}
    assert any(line.startswith("Not compared with the others: trial 1 (") for line in found.verdict)


def test_damaged_scores_of_a_trial_leave_it_out_and_every_view_says_so(scored):
    folder = scored(*(table(0.5 + NOISE[n]) for n in range(3)))
    (folder.trial("0002") / "scores.npz").write_bytes(b"torn")
    found = in_every_view(folder)
    assert found.findings.left_out == {
        "0002": "its scores per example are damaged: it is no whole npz archive"
    }
    place = "trials/0002/scores.npz (it is no whole npz archive)"
    assert found.verdict[-1] == f"Damaged, and left out until restored: {place}."
    report = compare(folder)
    assert report.damaged == {"trials/0002/scores.npz": "it is no whole npz archive"}
    (trial,) = (trial for trial in report.ranking if trial.key == "0002")
    assert trial.interval is None and "damaged" in trial.no_interval["rougeL"]


@pytest.mark.parametrize("damaged", ["base", "test/base", "test/winner"])
def test_damaged_scores_of_the_base_cost_its_gains_alone(make_study, damaged):
    folder = make_study()
    whole = study_verdict(folder).findings
    (folder.path / damaged / "scores.npz").write_bytes(b"")
    found = in_every_view(folder)
    assert found.findings.may_be_best == whole.may_be_best
    split = "select" if damaged == "base" else "test"
    assert [gain.split for gain in found.findings.gains] == [s for s in ("select", "test") if s != split]
    assert found.verdict[-1] == f"Damaged, and left out until restored: {damaged}/scores.npz (it is empty)."


def test_damaged_records_cost_status_the_verdict_alone(scored, monkeypatch):
    folder = scored(*(table(0.5 + NOISE[n]) for n in range(3)))

    def damaged(_):
        raise LoratoryError("record.json: must be a record, is damaged: it is empty")

    monkeypatch.setattr("loratory.search.status.study_verdict", damaged)
    status = status_with_verdict(folder)
    assert status.states == {"COMPLETE": 3} and status.findings is None
    assert status.verdict[0].startswith("There is no verdict: ") and "is damaged" in status.verdict[0]
    console = Console(width=400, record=True)
    console.print(render_status(status))
    assert "There is no verdict: " in console.export_text()


def test_a_record_with_a_value_that_is_no_number_is_named(scored):
    folder = scored(*(table(0.5 + NOISE[n]) for n in range(3)))
    record = folder.read_record("0002")
    folder.write_record(record.model_copy(update={"values": [math.inf]}))
    with pytest.raises(LoratoryError, match=r"0002/record.json: must be a record, is damaged: values.0"):
        study_verdict(folder)


def test_one_group_two_groups_and_few(scored):
    halves = ["a", "b"] * (EXAMPLES // 2)
    tables = [table(0.5 + 0.01 * n + NOISE[n], ["one"] * EXAMPLES) for n in range(3)]
    one = in_every_view(scored(*tables))
    assert "One group alone says nothing about chance: no intervals." in one.verdict
    assert (one.findings.interval, one.findings.shortfall, one.findings.units) == (None, None, 1)
    assert len(one.findings.may_be_best) == 3 and "What a wrong choice costs is not known." in one.verdict
    two = in_every_view(scored(*(table(scores.metrics["rougeL"], halves) for scores in tables)))
    assert "Few groups (2): intervals are rough." in two.verdict and two.findings.units == 2
    assert "few groups: rough" in two.published


def test_one_example(scored):
    found = in_every_view(scored(table([0.4]), table([0.6])))
    assert "One example alone says nothing about chance: no intervals." in found.verdict
    assert found.findings.detectable_difference is None and found.findings.shortfall is None


def test_missing_scores_of_one_and_of_all(scored):
    folder = scored(*(table(0.5 + NOISE[n]) for n in range(3)))
    winner = study_verdict(folder).choice.key
    other = next(key for key in ("0000", "0001", "0002") if key != winner)
    (folder.trial(other) / "scores.npz").unlink()
    assert (
        f"Not compared with the others: trial {int(other)} (it has no scores per example)."
        in in_every_view(folder).verdict
    )
    for number in range(3):
        (folder.trial(trial_key(number)) / "scores.npz").unlink(missing_ok=True)
    none = in_every_view(folder)
    assert none.verdict[1] == "Without scores per example nothing tells how sure that is."
    assert none.findings.may_be_best == () and none.findings.unit is None


def test_other_examples_are_not_compared(scored):
    folder = scored(*(table(0.5 + 0.01 * n + NOISE[n]) for n in range(3)))
    complete(folder, 0, table(0.3 + NOISE[4], split="other-"))
    assert "Not compared with the others: trial 0" in " ".join(in_every_view(folder).verdict)


def test_a_study_still_running(make_study):
    folder = make_study([row(0), row(1), row(2, TrialState.RUNNING)], test=False)
    complete(folder, 0, table(0.4 + NOISE[0]))
    complete(folder, 1, table(0.6 + NOISE[1]))
    found = in_every_view(folder)
    assert found.verdict[0] == "Trial 1 is best of 2: no other may be, with 95% confidence."
    assert found.lines[-1] == "Not all trials are finished: all of this is provisional."
    assert status_with_verdict(folder).trials[0].number == 2


def test_records_of_version_1(quickstart, tmp_path):
    found = study_verdict(quickstart)
    assert found.verdict[0] == "Trials 11, 8, 6 and 9 may be best."
    assert found.verdict[2] == "On test: +0.1665 [0.1296, 0.2034] over the base."
    assert (found.findings.test_looks, len(found.verdict)) == (("11",), 3)
    assert "150 examples show four times in five that a trial is worse if it is 14% behind" in found.further


def look(folder: StudyFolder, key: str, number: int | None, values: Sequence[float], at: str) -> None:
    """A scoring on test."""
    scores = table(values, split="test-")
    write_atomically(folder.score(key) / "scores.npz", scores.to_bytes())
    record = ScoreRecord(
        study="u",
        key=key,
        split="test",
        trial=None if number is None else trial_key(number),
        number=number,
        metrics=scores.aggregate,
        provenance=Provenance(seed=0),
        scored_at=at,
    )
    folder.write_score(record)


def test_a_second_look_at_test_is_marked_and_the_gain_is_the_published_trials(scored):
    folder = scored(*(table(0.5 + 0.1 * n + NOISE[n]) for n in range(3)))
    assert study_verdict(folder).choice.key == "0002"
    look(folder, TEST_BASE, None, 0.1 + NOISE[5], "2026-01-01T00:00:00+00:00")
    look(folder, TEST_WINNER, 1, 0.4 + NOISE[6], "2026-01-01T00:00:01+00:00")
    earlier = in_every_view(folder)
    assert "Test was looked at for trial 1, not yet for trial 2." in earlier.verdict
    assert not earlier.findings.gains
    look(folder, later_look_key("0002"), 2, 0.5 + NOISE[7], "2026-01-02T00:00:00+00:00")
    found = in_every_view(folder)
    assert found.verdict[-1] == "Test was looked at twice: first for trial 1."
    (gain,) = found.findings.gains
    assert gain.gain == pytest.approx(0.4 + NOISE[7].mean() - NOISE[5].mean())
    report = compare(folder)
    assert [scores.shown for scores in report.test] == [None, "1", "2"]
    assert "looked at twice: first for trial 1" in verdict_section(report, report.winner)
    assert f"on `test`, which had no part in the choice: **{0.5 + NOISE[7].mean():.4f}**" in headline(
        report, report.winner
    )


def test_without_a_test_split_the_card_gives_the_score_that_chose(scored):
    folder = scored(*(table(0.5 + 0.1 * n + NOISE[n]) for n in range(2)))
    report = compare(folder)
    assert "on `select`, by which it was chosen" in headline(report, report.winner)
    look(folder, BASE, None, 0.1 + NOISE[5], "2026-01-01T00:00:00+00:00")
    again = compare(folder)
    assert "(no interval: not compared by example)" in headline(again, again.winner)
