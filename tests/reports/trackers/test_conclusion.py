"""What the published trial's run says of the verdict: again where it changes, no more where it moves."""

from collections.abc import Callable

import pytest

from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison_report import Choice
from loratory.reports.findings import Findings, Gain, Interval, Member
from loratory.reports.trackers.conclusion import read_conclusion
from loratory.reports.trackers.tracker import open_trackers
from loratory.reports.trackers.wandb_environment import run_id
from loratory.reports.verdict_file import StudyVerdict, write_verdict


def publish(folder: StudyFolder, key: str, *, sentence: str = "Trials 0 and 1 may be best.") -> None:
    members = tuple(Member(key=f"000{n}", shown=str(n), value=0.5, behind=0.0) for n in (0, 1))
    findings = Findings(
        published=key,
        published_shown=key,
        ranked=2,
        value=0.625,
        may_be_best=members,
        shortfall=0.02,
        gains=(Gain(split="test", gain=0.1, interval=Interval(low=0.05, high=0.15)),),
        chance_of_change=0.5,
    )
    choice = Choice(key=key, why="it is the best")
    write_verdict(folder, StudyVerdict(findings=findings, choice=choice, verdict=(sentence,)))


def test_only_the_published_trial_has_entries(tmp_path):
    folder = StudyFolder(tmp_path)
    assert read_conclusion(folder, "0001").entries == {} and read_conclusion(folder, "0001").digest == ""
    publish(folder, "0001")
    entries = read_conclusion(folder, "0001").entries
    assert entries["verdict"] == "Trials 0 and 1 may be best." and entries["may_be_best"] == "0, 1"
    assert (entries["test/gain"], entries["test/gain_low"], entries["test/gain_high"]) == (0.1, 0.05, 0.15)
    assert entries["shortfall"] == 0.02 and "optimism" not in entries
    assert read_conclusion(folder, "0000").entries == {}
    folder.verdict.write_text("{")
    assert read_conclusion(folder, "0001").entries == {}


def test_runs_offline_are_written_again_where_the_verdict_changes(
    driver, study_with, study_uuid, offline_runs: Callable[[], dict]
):
    study = study_with(tensorboard=True)
    tracker = open_trackers(study, driver.folder, study_uuid)
    for number in (0, 1):
        driver.run(number, TrialState.COMPLETE, tracker)
    publish(driver.folder, "0000")
    tracker.finished(driver.records[0])
    tracker.close(60)
    first = {key: offline_runs()[run_id(study_uuid, key)] for key in ("0000", "0001")}
    assert first["0000"].summary["verdict"] == "Trials 0 and 1 may be best."
    assert first["0000"].summary["select/rougeL"] == 0.625, "and all that it had"
    assert "verdict" not in first["0001"].summary
    text = b"".join(p.read_bytes() for p in (driver.folder.tensorboard / "0000").iterdir())
    assert b"Trials 0 and 1 may be best." in text

    publish(driver.folder, "0001", sentence="Trial 1 is best.")
    open_trackers(study, driver.folder, study_uuid).close(60)  # as after a kill: nobody told them
    second = offline_runs()
    assert len(second) == 2
    assert "verdict" not in second[run_id(study_uuid, "0000")].summary
    assert second[run_id(study_uuid, "0001")].summary["verdict"] == "Trial 1 is best."
    open_trackers(study, driver.folder, study_uuid).close(60)
    assert {run.folder for run in offline_runs().values()} == {run.folder for run in second.values()}


def test_an_online_run_gets_the_verdict_later_and_no_row_twice(driver, study_with, study_uuid, wandb_server):
    study = study_with(mode="online")
    tracker = open_trackers(study, driver.folder, study_uuid)
    driver.run(0, TrialState.COMPLETE, tracker)
    assert tracker.close(60) == []
    name = run_id(study_uuid, "0000")
    rows = wandb_server.history(name)
    publish(driver.folder, "0000")
    assert open_trackers(study, driver.folder, study_uuid).close(60) == []
    assert wandb_server.summaries[name]["verdict"] == "Trials 0 and 1 may be best."
    assert wandb_server.history(name) == rows
    publish(driver.folder, "0001")
    assert open_trackers(study, driver.folder, study_uuid).close(60) == []
    assert wandb_server.summaries[name]["published"] is False
    assert wandb_server.history(name) == rows


@pytest.mark.parametrize("text", ["<b>|\n=1+1", "\x1b[31m", "x" * 10_000])
def test_foreign_text_is_only_text(tmp_path, text):
    publish(StudyFolder(tmp_path), "0001", sentence=text)
    assert read_conclusion(StudyFolder(tmp_path), "0001").text == text
