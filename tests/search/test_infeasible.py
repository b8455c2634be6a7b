"""Points that fit no worker: drawn again, a constraint in Optuna, never started, ranked or counted."""

import json
from collections.abc import Sequence

import optuna
import pytest

from loratory.objectives.events import Decision, Event, Ready, Start
from loratory.objectives.records import TrialRecord, TrialState
from loratory.objectives.toy import ToyObjective
from loratory.reports.comparison import compare
from loratory.reports.html_view import html_report
from loratory.reports.json_view import json_report
from loratory.reports.markdown_view import markdown_report
from loratory.reports.ranking import order
from loratory.reports.table import ranking_table
from loratory.search.samplers import trial_limit
from loratory.search.status import render_status, study_status
from loratory.search.trial_memory import Workforce
from loratory.spaces import InputError
from loratory.spaces.metric_names import Direction
from loratory.spaces.samplers import SamplerName

# Ranks above 64 do not fit: a third of 1 to 96. The best rank is 16.
THIRD = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
    "rank": {"type": "int", "low": 1, "high": 96},
}
FOUR_OF_SIX = {"rank": [2, 4, 8, 32, 128, 256], "epochs": [1, 2]}
MEMORY = {"memory": {"bytes_per_rank": 2**20, "limit_bytes": 64 * 2**20}}


class CountingToy(ToyObjective):
    """Notes the ranks of the trials that it was given."""

    def __init__(self, study) -> None:
        super().__init__(study)
        self.ranks: list[int] = []

    def advance(self, decisions: Sequence[Decision]) -> list[Event]:
        self.ranks += [d.trial.training.rank for d in decisions if isinstance(d, Start)]
        return super().advance(decisions)


@pytest.fixture
def tight(toy_study):
    def make(**changes):
        fields = {"trials": 6, "space": THIRD, "toy": MEMORY, "pruner": "none"}
        return toy_study(**fields | {"evaluation": {"evaluations": 1}} | changes)

    return make


def infeasible(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.state is TrialState.INFEASIBLE]


@pytest.mark.parametrize("name", list(SamplerName))
def test_what_fits_no_worker_is_never_started_ranked_or_counted(name, tight, open_study, assert_agreement):
    grid = name is SamplerName.GRID
    memory = {"memory": {"bytes_per_rank": 1, "limit_bytes": 40}}
    study = tight(sampler=name, space=FOUR_OF_SIX if grid else THIRD, toy=memory, trials=20 if grid else 4)
    opened = open_study(study)
    toy = CountingToy(study)
    opened.play(toy)
    records = opened.folder.read_records()
    refused = infeasible(records)
    wanted = 8 if grid else 4  # of the twelve points of the grid eight fit
    assert len(toy.ranks) == len(records) - len(refused) == wanted
    assert max(toy.ranks) <= 40
    assert refused and all(record.params["rank"] > 40 for record in refused)
    assert all(record.never_started and record.attempts == [] for record in refused)
    assert not {record.key for record in order(records, Direction.MAXIMIZE)} & {
        record.key for record in refused
    }
    assert opened.owner.left(new=True) == 0
    status = study_status(opened.folder)
    assert (status.done, status.limit, status.never_started) == (wanted, wanted, len(refused))
    assert_agreement(opened.rows, opened.folder)


def test_optuna_holds_a_constraint_in_proportion_to_the_excess_and_a_reason(tight, open_study):
    opened = open_study(tight())
    opened.play()
    for record in infeasible(opened.folder.read_records()):
        row = opened.rows.trials[record.number]
        assert row.state is optuna.trial.TrialState.PRUNED
        assert row.intermediate_values == {}
        assert row.constraints == {"fits_memory": pytest.approx(record.params["rank"] / 64 - 1)}
        needed = f"needs {record.params['rank']} MiB of device memory, the largest has 64 MiB"
        assert record.reason == row.user_attrs["infeasible"] == f"fits no worker: {needed}"


def test_the_share_of_infeasible_suggestions_of_tpe_falls(tight, open_study):
    opened = open_study(tight(trials=24))
    opened.play()
    refused = [record.never_started for record in opened.folder.read_records()]
    at_random, learned = refused[:10], refused[10:]  # TPE draws its first ten points at random
    assert sum(at_random) >= 2
    assert sum(learned) / len(learned) <= 0.1


@pytest.mark.parametrize(("name", "redraws"), [("random", 20), ("gp", 1)])
def test_after_the_redraws_the_last_point_is_changed_until_it_fits(name, redraws, tight, open_study):
    space = THIRD | {"rank": {"type": "int", "low": 1, "high": 1024}}
    memory = {"memory": {"bytes_per_rank": 1, "limit_bytes": 2}}
    opened = open_study(tight(sampler=name, space=space, toy=memory, trials=1, seed=1))
    opened.play()
    records = opened.folder.read_records()
    begun = [record.number for record in records if not record.never_started]
    assert begun == [redraws + 1]
    last, changed = records[-2].params, records[-1].params
    assert changed["learning_rate"] == last["learning_rate"], "it takes no memory"
    assert changed["rank"] <= 2 < last["rank"]


def test_a_grid_goes_on_however_many_of_its_points_do_not_fit(tight, open_study):
    space = {"rank": {"type": "int", "low": 1, "high": 26}}
    memory = {"memory": {"bytes_per_rank": 1, "limit_bytes": 2}}
    study = tight(sampler="grid", space=space, toy=memory, trials=100)
    opened = open_study(study)
    while opened.owner.has_work(new=True):
        opened.play()
    records = opened.folder.read_records()
    assert len(records) == 26
    assert sorted(r.params["rank"] for r in records if r.state is TrialState.COMPLETE) == [1, 2]
    assert trial_limit(study, infeasible=24) == 2


def test_an_enqueued_point_that_does_not_fit_is_told_and_not_started(tight, open_study, assert_agreement):
    opened = open_study(tight(trials=2))
    opened.rows.enqueue_trial({"rank": 96, "learning_rate": 1e-3})
    opened.rows.enqueue_trial({"rank": 16, "learning_rate": 1e-3})
    opened = open_study(opened.study)  # a run that begins with enqueued rows
    opened.play()
    first, second = opened.folder.read_records()[:2]
    assert (first.state, first.params["rank"]) == (TrialState.INFEASIBLE, 96)
    assert "needs 96 MiB" in opened.rows.trials[0].user_attrs["infeasible"]
    assert (second.state, second.params["rank"]) == (TrialState.COMPLETE, 16)
    assert_agreement(opened.rows, opened.folder)


def test_a_resumed_study_asks_what_an_uninterrupted_one_asks(tight, open_study, assert_agreement):
    whole = open_study(tight(name="whole"))
    whole.play()
    study = tight(name="parts")
    open_study(study).play(steps=3)
    resumed = open_study(study)
    resumed.play()
    points = [
        [(record.state, record.params) for record in opened.folder.read_records()]
        for opened in (whole, resumed)
    ]
    assert points[0] == points[1]
    assert_agreement(resumed.rows, resumed.folder)


def test_a_kill_between_record_and_row_is_told_on_the_next_start(tight, open_study, monkeypatch):
    opened = open_study(tight())
    monkeypatch.setattr("loratory.search.owner.mark_infeasible", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        opened.play()
    monkeypatch.undo()
    (refused,) = infeasible(opened.folder.read_records())
    assert not opened.rows.trials[refused.number].state.is_finished()
    again = open_study(opened.study)
    row = again.rows.trials[refused.number]
    assert row.state is optuna.trial.TrialState.PRUNED
    assert row.constraints == {"fits_memory": pytest.approx(refused.params["rank"] / 64 - 1)}


def test_a_space_of_which_nothing_fits_stops_at_once_and_records_nothing(tight, open_study):
    space = {"rank": {"type": "int", "low": 65, "high": 96}, "target_modules": ["all-linear", ["q_proj"]]}
    with pytest.raises(InputError, match=r"^space: a trial must fit a worker, the smallest needs 65 MiB"):
        open_study(tight(space=space))


def test_status_and_report_say_how_many_were_not_started(tight, open_study):
    from rich.console import Console

    opened = open_study(tight())
    opened.play()
    number = len(infeasible(opened.folder.read_records()))
    console = Console(width=120, record=True)
    console.print(render_status(study_status(opened.folder)))
    words = f"{number} infeasible trials were predicted to fit no worker and not started"
    assert words in console.export_text()
    report = compare(opened.folder)
    assert f" {words}." in markdown_report(report) and f" {words}." in html_report(report)
    console.print(ranking_table(report))
    assert f"  {words}\n" in console.export_text()
    assert json.loads(json_report(report))["never_started"] == report.counts[TrialState.INFEASIBLE] == number


def ready(limit: int | None, capacity: int = 2) -> Ready:
    return Ready(device="toy", compute_dtype="fp64", capacity=capacity, trial_limit_bytes=limit)


def test_a_worker_is_given_only_trials_that_fit_it(tight, open_study):
    small, large = ready(32 * 2**20), ready(96 * 2**20)
    opened = open_study(tight(sampler="random"))
    opened.owner.know(Workforce(ready=[small, large]))
    taken: dict[int, list[int]] = {0: [], 1: []}
    while opened.owner.left(new=True) > len(taken[0]) + len(taken[1]):
        for number, worker in enumerate((small, large)):
            start = opened.owner.ask(new=True, worker=worker)
            if start is not None:
                taken[number].append(start.trial.training.rank)
    assert taken[0] and max(taken[0]) <= 32 < max(taken[1]) <= 96
    assert infeasible(opened.folder.read_records()) == []
    assert len(taken[0]) + len(taken[1]) == len(opened.rows.trials) == 6


def test_what_only_a_larger_worker_takes_does_not_pile_up(tight, open_study):
    small, large = ready(1 * 2**20), ready(96 * 2**20, capacity=3)
    opened = open_study(tight(sampler="random"))
    opened.owner.know(Workforce(ready=[small, large]))
    assert [opened.owner.ask(new=True, worker=small) for _ in range(5)] == [None] * 5
    assert len(opened.rows.trials) == 3
    assert opened.owner.has_work(new=False) and opened.owner.left(new=True) == 6


def test_nothing_is_infeasible_while_a_larger_worker_may_come(tight, open_study):
    small = ready(1 * 2**20, capacity=1)
    opened = open_study(tight(sampler="random"))
    opened.owner.know(Workforce(ready=[small], starting=True))
    assert opened.owner.ask(new=True, worker=small) is None
    assert opened.folder.read_records() == []
    opened.owner.know(Workforce(ready=[small, ready(None)]))
    start = opened.owner.ask(new=True, worker=ready(None))
    assert start is not None and start.trial.number == 0


def test_a_trial_with_results_waits_for_a_worker_like_that_it_began_with(tight, open_study):
    opened = open_study(tight(sampler="random", trials=3, evaluation={"evaluations": 4}))
    opened.owner.know(Workforce(ready=[ready(None)]))
    opened.play(steps=2)
    (begun,) = opened.folder.read_records()
    again = open_study(opened.study)
    again.owner.know(Workforce(ready=[ready(begun.params["rank"] * 2**20 - 1)]))
    again.play()
    assert again.owner.stuck() == [begun.shown]
    assert not again.owner.has_work(new=True)
    assert sum(r.state is TrialState.COMPLETE for r in again.folder.read_records()) == 2
    again.owner.know(Workforce(ready=[ready(None)]))
    assert again.owner.has_work(new=True) and again.owner.stuck() == []
