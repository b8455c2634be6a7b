from rich.console import Console

from loratory.objectives.events import Failed
from loratory.objectives.records import FailureKind
from loratory.search.clock import StudyClock, read_active_seconds
from loratory.search.status import render_status, study_status


def test_the_status_of_a_study_half_way(toy_study, open_study):
    opened = open_study(toy_study(trials=6, pruner="none"))
    opened.play(steps=10)
    status = study_status(opened.folder)
    assert (status.done, status.limit, status.running) == (2, 6, False)
    assert status.states == {"COMPLETE": 2, "RUNNING": 1}
    assert [(t.number, t.evaluation, t.evaluations) for t in status.trials] == [(2, 2, 4)]
    assert status.best_value == max(r.values[0] for r in opened.folder.read_records() if r.values)
    console = Console(width=120, record=True)
    console.print(render_status(status))
    text = console.export_text()
    assert "2/6 trials (2 COMPLETE, 1 to go on)" in text
    assert "the same command goes on with it" in text
    (under_way,) = (line.split() for line in text.splitlines() if line.strip().startswith("2 "))
    assert under_way[1] == "-", "it was interrupted: that is no failure"


def test_failures_of_a_trial_under_way_are_counted(toy_study, open_study):
    opened = open_study(toy_study(trials=2))
    opened.owner.ask(new=True)
    opened.tell(Failed(key="0000", attempt=1, kind=FailureKind.CRASHED, message="killed"))
    start = opened.owner.ask(new=True)
    assert (start.trial.number, start.trial.attempt) == (0, 2)
    status = study_status(opened.folder)
    assert [(trial.number, trial.failures) for trial in status.trials] == [(0, 1)]
    console = Console(width=120, record=True)
    console.print(render_status(status))
    assert console.export_text().splitlines()[-1].split()[:2] == ["0", "1"]


def test_the_clock_goes_on_after_a_restart(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    path = tmp_path / "clock.json"
    clock = StudyClock(path)
    now[0] += 30
    assert clock.active_seconds == 30
    clock.save()
    now[0] = 5000
    again = StudyClock(path)
    now[0] += 12
    assert again.active_seconds == 42
    assert read_active_seconds(path) == 42, "kept now and then, so that a kill costs seconds"


def test_a_torn_clock_costs_only_its_count(tmp_path):
    (tmp_path / "clock.json").write_text('{"active')
    assert StudyClock(tmp_path / "clock.json").active_seconds < 5
