"""The driver against scripted workers, for failures that Ray rarely produces."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import pytest

from loratory.objectives.events import (
    Decision,
    Event,
    Failed,
    Finished,
    Noted,
    Progressed,
    Ready,
    Reported,
    Score,
    Scored,
    Split,
    Start,
    Stop,
)
from loratory.objectives.objective import Prepared
from loratory.objectives.records import (
    CurvePoint,
    FailureKind,
    Measurement,
    Provenance,
    Resources,
    TrialState,
)
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import BASE
from loratory.search.adapter_budget import AdapterBudget
from loratory.search.driver import Driver
from loratory.search.executors.executor import Message
from loratory.search.host_room import HostRoom
from loratory.search.ledger import TrialLedger
from loratory.search.owners import SearchThenRetraining
from loratory.search.retraining import RetrainingOwner
from loratory.search.scoring import ScoringQueue
from loratory.search.scoring_ledger import ScoringLedger
from loratory.search.work_log import WorkLog
from loratory.spaces import InputError, LoratoryError
from loratory.spaces.confirmation import ConfirmationSpec

READY = Ready(device="d", compute_dtype="fp32", hashes={"base": "b"})


def table(value: float = 0.5) -> ScoreTable:
    names = ("rougeL", "loss")
    return ScoreTable(
        example_ids=(),
        groups=(),
        metrics={},
        statistics={},
        signatures={},
        aggregate=dict.fromkeys(names, value),
    )


def scored(score: Score, value: float = 0.5) -> Scored:
    return Scored(
        key=score.key, split=score.split, scores=table(value), predictions=(), resources=Resources()
    )


def finished(start: Start, value: float = 0.5) -> Finished:
    identity = {"key": start.trial.key, "attempt": start.trial.attempt}
    rest = {"predictions": (), "adapter": {}, "resources": Resources()}
    return Finished(**identity, reason="end", best_step=1, scores=table(value), **rest)


def reported(start: Start, step: int, value: float) -> Reported:
    seen = {"examples_seen": 1, "tokens_seen": 1, "elapsed_seconds": 1}
    measurement = Measurement(step=step, optimizer_steps=step, metrics={"rougeL": value}, **seen)
    identity = {"key": start.trial.key, "attempt": start.trial.attempt}
    return Reported(**identity, measurement=measurement, resources=Resources(), checkpoint=b"checkpoint")


class ScriptedExecutor:
    """Workers that answer each decision with what a function says; a string breaks the worker."""

    def __init__(self, answer: Callable[[int, Decision], Sequence[Event] | str], workers: int = 1) -> None:
        self.answer, self.workers = answer, range(workers)
        self.sent: list[tuple[int, Decision]] = []
        self.replaced: list[int] = []
        self.ready = [READY] * workers
        self._messages: list[Message] = []

    def check(self) -> None: ...

    def open(self) -> None: ...
    def close(self) -> None: ...
    def waiting(self) -> str | None: ...

    def start(self, prepared: Prepared) -> Sequence[int]:
        self._messages = [Message(worker=worker, events=(self.ready[worker],)) for worker in self.workers]
        return tuple(self.workers)

    def send(self, worker: int, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self.sent.append((worker, decision))
            answer = self.answer(worker, decision)
            broken = isinstance(answer, str)
            events = () if broken else tuple(answer)
            self._messages.append(Message(worker=worker, events=events, broken=answer if broken else None))

    def poll(self, timeout_seconds: float) -> list[Message]:
        messages, self._messages = self._messages, []
        return messages

    def replace(self, worker: int) -> None:
        self.replaced.append(worker)
        self._messages.append(Message(worker=worker, events=(READY,)))


@pytest.fixture
def drive(open_study):
    def run(
        study,
        executor,
        *,
        has_base=False,
        has_test=False,
        confirmation=None,
        time_is_up=lambda: False,
        interrupted=lambda: False,
        say=lambda _line: None,
        **free,
    ):
        opened = open_study(study)
        prepared = Prepared(has_base=has_base, has_test=has_test)
        owner, ledgers = opened.owner, [opened.ledger]
        if confirmation is not None:
            ledger = TrialLedger(opened.folder, study_uuid="u", provenance=Provenance(seed=0), records=())
            ledgers.append(ledger)
            again = RetrainingOwner(study, confirmation, search=opened.ledger.records, ledger=ledger)
            owner = SearchThenRetraining(opened.owner, again)
        driver = Driver(
            owner,
            ledger=ScoringLedger(*ledgers),
            scoring=ScoringQueue(opened.folder, prepared),
            executor=executor,
            room=HostRoom(opened.folder, **free),
            budget=AdapterBudget(study, opened.folder, opened.ledger),
            prepared=prepared,
            watchers=[],
            times=WorkLog(time.monotonic()),
            interrupted=interrupted,
            time_is_up=time_is_up,
            say=say,
        )
        return driver.run(), opened.folder

    return run


def train_or_score(_worker: int, decision: Decision) -> list[Event]:
    match decision:
        case Start():
            return [finished(decision)]
        case Score():
            return [scored(decision)]
    return []


def test_the_search_then_the_retraining_then_the_test_split(toy_study, drive):
    def answer(_worker: int, decision: Decision) -> list[Event]:
        files = {"adapter_model.safetensors": b"w", "adapter_config.json": b"{}"}
        if isinstance(decision, Start):
            return [replace(finished(decision), adapter=files)]
        return train_or_score(_worker, decision)

    executor = ScriptedExecutor(answer, workers=2)
    confirmation = ConfirmationSpec(top=1, seeds=2)
    done, folder = drive(toy_study(trials=3), executor, has_test=True, confirmation=confirmation)
    keys = [d.trial.key if isinstance(d, Start) else d.key for _, d in executor.sent]
    assert done and keys[:3] == ["0000", "0001", "0002"]
    assert keys[3:5] == ["confirm/0000-1", "confirm/0000-2"]
    assert sorted(keys[5:]) == ["test/base", "test/winner"]
    assert folder.read_score("test/winner").trial == "0000"
    assert len(folder.read_retrained()) == 2


def test_a_retraining_that_loses_its_worker_goes_on_elsewhere(toy_study, drive):
    lost: list[str] = []

    def answer(_worker: int, decision: Decision) -> list[Event] | str:
        if isinstance(decision, Start) and decision.trial.number is None and not lost:
            lost.append(decision.trial.key)
            return "the machine is gone"
        return train_or_score(_worker, decision)

    executor = ScriptedExecutor(answer)
    confirmation = ConfirmationSpec(top=1, seeds=2)
    done, folder = drive(toy_study(trials=2), executor, confirmation=confirmation)
    assert done and executor.replaced == [0]
    ends = [[attempt.end for attempt in record.attempts] for record in folder.read_retrained()]
    assert sorted(ends) == [["finished"], ["worker_lost", "finished"]]


def test_the_base_is_scored_once_beside_the_first_trials(toy_study, drive):
    executor = ScriptedExecutor(train_or_score, workers=2)
    done, folder = drive(toy_study(trials=3), executor, has_base=True)
    assert done
    sent = [(worker, type(decision)) for worker, decision in executor.sent]
    assert sent[:2] == [(0, Score), (0, Start)]  # in this order, to one worker
    assert [kind for _, kind in sent].count(Score) == 1 and len(sent) == 4
    assert folder.read_score(BASE) is not None


def test_a_scoring_that_breaks_its_worker_is_given_to_another_and_not_for_ever(toy_study, drive):
    def break_on_scores(_worker: int, decision: Decision) -> list[Event] | str:
        return "out of memory" if isinstance(decision, Score) else []  # trials end with their worker

    executor, lines = ScriptedExecutor(break_on_scores), []
    with pytest.raises(LoratoryError, match="broke 4 times in a row: out of memory"):
        drive(toy_study(), executor, has_base=True, say=lines.append)
    assert executor.replaced == [0, 0, 0]
    kinds = [type(decision) for _, decision in executor.sent]
    assert kinds == [Score, Start, Score, Score, Score]  # no trial pays for it again
    told = [line for line in lines if line.startswith("worker 0 broke and starts again")]
    assert len(told) == 3 and "3 of at most 3 times in a row: out of memory" in told[-1]


def test_what_happens_to_a_worker_is_told(toy_study, drive):
    def short_of_memory(worker: int, decision: Decision) -> list[Event]:
        return [Noted(line="memory ran out"), *train_or_score(worker, decision)]

    lines: list[str] = []
    assert drive(toy_study(trials=1), ScriptedExecutor(short_of_memory), say=lines.append)[0]
    assert "memory ran out" in lines


def test_a_base_without_a_finite_score_does_not_stop_the_study(toy_study, drive):
    def without_numbers(_worker: int, decision: Decision) -> list[Event]:
        nan = float("nan")
        return [scored(decision, nan)] if isinstance(decision, Score) else train_or_score(0, decision)

    done, folder = drive(toy_study(trials=2), ScriptedExecutor(without_numbers), has_base=True)
    assert done
    base = folder.read_score(BASE)
    assert base is not None and base.metrics == {}


def test_a_trial_with_a_score_that_is_no_number_is_pruned_and_everything_stays_readable(toy_study, drive):
    def endless(_worker: int, decision: Decision) -> list[Event]:
        return [finished(decision, float("inf"))] if isinstance(decision, Start) else []

    _, folder = drive(toy_study(trials=2), ScriptedExecutor(endless))
    records = folder.read_records()
    assert [record.state for record in records] == [TrialState.PRUNED] * 2
    assert "must be finite" in records[0].reason


def test_a_lost_worker_gives_its_trial_to_the_next_and_the_study_ends(toy_study, drive, assert_agreement):
    lost = []

    def lose_the_first(worker: int, decision: Decision) -> list[Event] | str:
        if isinstance(decision, Start) and decision.trial.number == 1 and not lost:
            lost.append(worker)
            return "ActorDiedError"
        return train_or_score(worker, decision)

    executor = ScriptedExecutor(lose_the_first, workers=2)
    _, folder = drive(toy_study(trials=4), executor)
    records = folder.read_records()
    assert {record.state for record in records} == {TrialState.COMPLETE}
    assert records[1].attempt == 2
    assert [failure.kind for failure in records[1].failures] == [FailureKind.WORKER_LOST]
    assert executor.replaced == lost


class PackExecutor(ScriptedExecutor):
    """Workers of some slots, each answering all decisions of one exchange together."""

    def __init__(self, *, slots: int, workers: int = 1, poison: int | None = None) -> None:
        super().__init__(train_or_score, workers)
        self.ready = [Ready(device="d", compute_dtype="fp32", hashes={"base": "b"}, capacity=slots)] * workers
        self.poison = poison
        self.batches: list[tuple[int, list[int]]] = []

    def send(self, worker: int, decisions: Sequence[Decision]) -> None:
        numbers = [decision.trial.number for decision in decisions if isinstance(decision, Start)]
        self.batches.append((worker, numbers))
        if self.poison in numbers:
            self._messages.append(Message(worker=worker, broken="killed"))
        else:
            super().send(worker, decisions)

    def replace(self, worker: int) -> None:
        self.replaced.append(worker)
        self._messages.append(Message(worker=worker, events=(self.ready[worker],)))


def test_every_slot_of_every_worker_is_filled_and_the_last_trials_are_spread(toy_study, drive):
    executor = PackExecutor(slots=3, workers=2)
    said = []
    done, folder = drive(toy_study(trials=8), executor, has_base=True, say=said.append)
    assert done
    assert executor.batches[0] == (0, []), "the base is scored first"
    assert [(worker, len(numbers)) for worker, numbers in executor.batches[1:]] == [
        *((0, 3), (1, 3)),
        *((0, 1), (1, 1)),
    ]
    assert sorted(n for _, numbers in executor.batches for n in numbers) == list(range(8))
    assert {record.state for record in folder.read_records()} == {TrialState.COMPLETE}
    assert said[0] == "up to 6 trials at once, on 2 workers; some of them may wait for a slot or for scores"
    assert said[1].startswith("note: 6 of 8 trials start at once") and len(said) == 2


@pytest.mark.parametrize(("steps", "at_once"), [(0, 8), (8, 6), (14, 5)])
def test_no_more_trials_are_announced_than_are_left(toy_study, drive, open_study, steps, at_once):
    study, said = toy_study(trials=8, pruner="none"), []
    opened = open_study(study)
    opened.play(steps=steps)
    done, folder = drive(study, PackExecutor(slots=5, workers=2), say=said.append)
    assert done and len(folder.read_records()) == 8
    assert said[0] == (
        f"up to {at_once} trials at once, on 2 workers; some of them may wait for a slot or for scores"
    )
    assert any("start at once" in line for line in said) is (steps == 0)


def test_a_trial_that_breaks_its_worker_fails_alone_not_with_its_neighbours(toy_study, drive):
    executor = PackExecutor(slots=4, poison=1)
    done, folder = drive(toy_study(trials=9, attempts=2), executor)
    assert done
    records = folder.read_records()
    states = {record.number: record.state for record in records}
    assert states == dict.fromkeys(range(9), TrialState.COMPLETE) | {1: TrialState.FAIL}
    batches = [numbers for _, numbers in executor.batches]
    assert batches[:2] == [[0, 1, 2, 3]] * 2, "two losses may be bad luck"
    assert batches[2:4] == [[4, 5, 6, 7], [8]], "those that nobody suspects go first"
    assert batches[4:] == [[0], [1], [2], [3]]
    assert [len(records[n].failures) for n in (0, 1, 2, 4)] == [2, 3, 2, 0]


def test_a_start_follows_a_stop_without_waiting_for_its_answer(toy_study, drive):
    def never_stops(_worker: int, decision: Decision) -> list[Event]:
        if not isinstance(decision, Start):
            return []
        if decision.trial.number < 2:
            return [*(reported(decision, step, 0.9) for step in (1, 2)), finished(decision)]
        return [reported(decision, step, 0.1) for step in (1, 2)]

    study = toy_study(trials=4, pruner={"name": "median", "startup_trials": 2, "warmup_evaluations": 1})
    executor, polls = ScriptedExecutor(never_stops), count()
    done, folder = drive(study, executor, interrupted=lambda: next(polls) > 50)
    assert done
    assert [record.state for record in folder.read_records()][2:] == [TrialState.PRUNED] * 2


def test_what_comes_after_a_prune_is_thrown_away(toy_study, drive):
    def report_all(_worker: int, decision: Decision) -> list[Event]:
        if not isinstance(decision, Start):
            return []
        value = 0.9 if decision.trial.number < 2 else 0.1
        return [*(reported(decision, step, value) for step in (1, 2, 3, 4)), finished(decision, value)]

    study = toy_study(trials=3, pruner={"name": "median", "startup_trials": 2, "warmup_evaluations": 1})
    executor = ScriptedExecutor(report_all)
    _, folder = drive(study, executor)
    pruned = folder.read_records()[2]
    assert pruned.state is TrialState.PRUNED
    assert [m.step for m in pruned.measurements] == [1, 2]
    assert pruned.values is None
    assert any(isinstance(decision, Stop) for _, decision in executor.sent)
    assert not list(folder.path.glob("trials/*/checkpoint-*")), "a finished trial keeps no checkpoint"


def test_workers_that_compute_differently_are_refused(toy_study, drive):
    executor = ScriptedExecutor(train_or_score, workers=2)
    executor.ready[1] = Ready(device="d", compute_dtype="bf16", hashes={"base": "b"})
    with pytest.raises(LoratoryError, match="one compute dtype"):
        drive(toy_study(), executor)


def test_a_study_does_not_go_on_in_another_number_format(toy_study, drive):
    drive(toy_study(trials=1), ScriptedExecutor(train_or_score))
    executor = ScriptedExecutor(train_or_score)
    executor.ready[0] = Ready(device="d", compute_dtype="bf16", hashes={"base": "b"})
    with pytest.raises(LoratoryError, match="got bf16 after fp32"):
        drive(toy_study(trials=2), executor)


def test_after_the_time_limit_no_trial_starts_and_running_ones_finish(toy_study, drive):
    executor = ScriptedExecutor(train_or_score)
    done, folder = drive(toy_study(trials=9), executor, time_is_up=lambda: len(executor.sent) >= 2)
    assert done
    assert [record.state for record in folder.read_records()] == [TrialState.COMPLETE] * 2


def test_a_worker_that_cannot_load_ends_the_study_at_once(toy_study, drive):
    class Broken(ScriptedExecutor):
        def start(self, prepared: Prepared) -> Sequence[int]:
            self._messages = [Message(worker=0, broken="OSError: no such base", deterministic=True)]
            return (0,)

    with pytest.raises(LoratoryError, match="cannot load its objective: OSError: no such base"):
        drive(toy_study(), Broken(train_or_score))


def test_a_study_that_a_worker_refuses_is_bad_input(toy_study, drive):
    class Refusing(ScriptedExecutor):
        def start(self, prepared: Prepared) -> Sequence[int]:
            message = Message(worker=0, broken="packing.slots: too many", deterministic=True, refused=True)
            self._messages = [message]
            return (0,)

    with pytest.raises(InputError, match=r"^packing\.slots: too many$"):
        drive(toy_study(), Refusing(train_or_score))


def test_a_worker_that_was_ready_once_is_tried_again_whatever_its_next_one_says(toy_study, drive):
    """Memory that others hold for a moment is no fault of the study."""

    class Moody(ScriptedExecutor):
        def replace(self, worker: int) -> None:
            super().replace(worker)
            if len(self.replaced) == 1:
                refused = Message(worker=worker, broken="too many", deterministic=True, refused=True)
                self._messages = [refused]

    def breaks_once(worker: int, decision: Decision) -> Sequence[Event] | str:
        return train_or_score(worker, decision) if executor.replaced else "killed"

    executor = Moody(breaks_once)
    done, folder = drive(toy_study(trials=3), executor)
    assert done and len(executor.replaced) == 2
    assert [record.state for record in folder.read_records()] == [TrialState.COMPLETE] * 3


def test_twenty_infeasible_trials_in_a_row_stop_the_study(toy_study, drive):
    def too_large(_worker: int, decision: Decision) -> list[Event]:
        if not isinstance(decision, Start):
            return []
        trial = decision.trial
        return [Failed(key=trial.key, attempt=trial.attempt, kind=FailureKind.OOM, message="80 GiB")]

    with pytest.raises(LoratoryError, match="20 attempts in a row failed alike: 80 GiB"):
        drive(toy_study(), ScriptedExecutor(too_large))


RANKS = {"rank": [2, 4, 8, 16], "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}
PER_RANK = {"memory": {"bytes_per_rank": 1}}


def limited(limit: int) -> Ready:
    return replace(READY, trial_limit_bytes=limit)


def test_workers_are_given_only_trials_that_fit_them(toy_study, drive):
    executor = ScriptedExecutor(train_or_score, workers=2)
    executor.ready = [limited(4), limited(8)]
    study = toy_study(trials=8, space=RANKS, toy=PER_RANK, sampler="random", pruner="none", seed=2)
    lines: list[str] = []
    done, folder = drive(study, executor, say=lines.append)
    assert done
    ranks = {worker: {s.trial.training.rank for w, s in executor.sent if w == worker} for worker in (0, 1)}
    assert max(ranks[0]) <= 4 < max(ranks[1]) <= 8
    states = [record.state for record in folder.read_records()]
    assert states.count(TrialState.COMPLETE) == 8 and TrialState.INFEASIBLE in states
    assert [line for line in lines if "fits no worker" in line] == [
        "note: what fits no worker is not started; another point is drawn in its place"
    ]


def test_a_space_that_fits_no_worker_ends_before_the_base_is_scored(toy_study, drive):
    executor = ScriptedExecutor(train_or_score)
    executor.ready = [limited(1)]
    with pytest.raises(InputError, match="space: a trial must fit a worker, the smallest needs 2 bytes"):
        drive(toy_study(space=RANKS, toy=PER_RANK), executor, has_base=True)
    assert executor.sent == []


def test_a_trial_that_fits_no_worker_of_this_run_is_named_and_kept(toy_study, drive, open_study):
    study = toy_study(trials=1, space=RANKS | {"rank": [8]}, toy=PER_RANK, pruner="none", sampler="random")
    open_study(study).play(steps=2)
    executor = ScriptedExecutor(train_or_score)
    executor.ready = [limited(4)]
    with pytest.raises(LoratoryError, match=r"0 fit none; run the same command where a worker has as much"):
        drive(study, executor)
    assert executor.sent == []


PLENTY = 2**40


def test_trials_start_one_by_one_where_the_disk_has_no_room_for_more(toy_study, drive):
    executor = PackExecutor(slots=4)
    lines: list[str] = []
    # Room for a trial's megabyte and a second file of it, not for another trial's.
    study = toy_study(trials=4, pruner="none", sampler="random")
    done, folder = drive(
        study,
        executor,
        say=lines.append,
        disk=lambda _: 5 * 2**19,
        memory=lambda: PLENTY,
        least_bytes=lambda: 2**20,
    )
    assert done and [record.state for record in folder.read_records()] == [TrialState.COMPLETE] * 4
    assert [len(numbers) for _, numbers in executor.batches] == [1] * 4
    told = [line for line in lines if "disk" in line]
    assert told == [
        "one more trial may need 3 MiB of disk, 2 MiB is free: running trials go on, none starts until there "
        "is more"
    ]


def test_a_disk_without_room_for_any_trial_ends_the_study_with_the_remedy(toy_study, drive):
    executor = ScriptedExecutor(train_or_score)
    words = r"the disk is full; free some space and run the same command again to go on: one more trial may "
    with pytest.raises(LoratoryError, match=words + r"need 2 MiB of disk, 1 MiB is free"):
        drive(toy_study(), executor, disk=lambda _: 2**20, memory=lambda: PLENTY, least_bytes=lambda: 2**20)
    assert executor.sent == []


def test_little_main_memory_lets_trials_run_one_by_one(toy_study, drive):
    executor = PackExecutor(slots=4)
    lines: list[str] = []
    study = toy_study(trials=3, pruner="none", sampler="random")
    done, _ = drive(
        study, executor, say=lines.append, disk=lambda _: PLENTY, memory=lambda: 0, least_bytes=lambda: 2**20
    )
    assert done and [len(numbers) for _, numbers in executor.batches] == [1] * 3
    assert [line for line in lines if "main memory" in line] == [
        "one more trial may need 1 MiB of main memory, nothing is free: running trials go on, none starts "
        "until there is more"
    ]


def test_a_finished_study_needs_no_room(toy_study, drive):
    study = toy_study(trials=1)
    drive(study, ScriptedExecutor(train_or_score))
    done, _ = drive(study, ScriptedExecutor(train_or_score), disk=lambda _: 0)
    assert done


def test_progress_reaches_the_curve(toy_study, drive):
    point = CurvePoint(optimizer_step=1, loss=1.0, learning_rate=0.1, grad_norm=1.0, tokens_seen=3)

    def with_curve(_worker: int, decision: Decision) -> list[Event]:
        if not isinstance(decision, Start):
            return []
        trial = decision.trial
        return [Progressed(key=trial.key, attempt=trial.attempt, points=(point,)), finished(decision)]

    _, folder = drive(toy_study(trials=1), ScriptedExecutor(with_curve))
    assert folder.read_curve("0000") == [point]


def test_splits_have_the_names_that_records_use():
    assert [split.value for split in Split] == ["dev", "select", "confirm", "test"]
