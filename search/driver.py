"""The driver: one event loop between the owner, the workers and the watchers."""

import math
import time
from collections.abc import Callable, Sequence

from loratory.objectives.events import (
    Event,
    Failed,
    Finished,
    Noted,
    Progressed,
    Ready,
    Reported,
    Score,
    Scored,
    Start,
    Started,
    Stop,
    Stopped,
    TrialEvent,
    Worked,
)
from loratory.objectives.objective import Prepared
from loratory.objectives.records import FailureKind, TrialState
from loratory.reports.trackers.tracker import Tracker
from loratory.search.adapter_budget import AdapterBudget
from loratory.search.advice import advice_on_first_trials
from loratory.search.executors.executor import Executor, Message
from loratory.search.host_room import HostRoom, Shortage
from loratory.search.owners import TrialOwner
from loratory.search.scoring import ScoringQueue
from loratory.search.scoring_ledger import ScoringLedger
from loratory.search.trial_memory import Workforce
from loratory.search.work_log import WorkLog
from loratory.search.worker_state import WorkerState
from loratory.spaces.errors import InputError, LoratoryError

_POLL_SECONDS = 0.5
# Trials that were lost together twice run alone; the third break shows which of them breaks its worker.
_BROKEN_IN_A_ROW = 4
_PATIENCE_SECONDS = 120.0
"""After the first worker is ready, others may still come with more memory; then only those there count."""
_SECONDS_BETWEEN_SHORTAGES = 600.0


class Driver:
    """Runs a study until it is done or interrupted.

    For each event it decides, writes to the storage, answers the worker, and only then calls the watchers, so
    that a slow display or tracker never keeps a GPU waiting.

    Args:
        owner: decides about trials.
        ledger: stores the scorings, and has the records of all that may be scored.
        scoring: the scorings outside trials.
        executor: holds the workers.
        room: tells whether disk and main memory have room for one more trial.
        budget: deletes the worst adapters where the study has a limit for them.
        prepared: data from which workers build the objective.
        watchers: trackers and the display.
        times: receives how the workers spend their time.
        interrupted: whether to stop now, leaving every trial resumable.
        time_is_up: whether to start no new trial.
        say: prints a line.
    """

    def __init__(
        self,
        owner: TrialOwner,
        *,
        ledger: ScoringLedger,
        scoring: ScoringQueue,
        executor: Executor,
        room: HostRoom,
        budget: AdapterBudget,
        prepared: Prepared,
        watchers: Sequence[Tracker],
        times: WorkLog,
        interrupted: Callable[[], bool],
        time_is_up: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._owner, self._ledger, self._scoring = owner, ledger, scoring
        self._executor, self._prepared, self._watchers = executor, prepared, watchers
        self._room, self._budget, self._times = room, budget, times
        self._interrupted, self._time_is_up, self._say = interrupted, time_is_up, say
        self._workers: dict[int, WorkerState] = {}
        self._capacity_told = False
        self._notes_told: set[str] = set()
        self._patient_until: float | None = None
        self._shortage_told = -math.inf
        states = {record.state for record in owner.records.values()}
        self._sampler_is_new = not states & {TrialState.COMPLETE, TrialState.PRUNED}

    def run(self) -> bool:
        """Run until the study is done or interrupted.

        Returns:
            Whether the study is done.

        Raises:
            InputError: the workers do not fit the machine, or the study does not fit a worker.
            LoratoryError: workers break again and again, too many trials fail for the same reason, or trials
                of an earlier run fit no worker of this one, or the disk has no room for any trial.
        """
        if not self._work_is_left():
            return True
        self._show(self._budget.enforce())
        self._workers = {worker: WorkerState() for worker in self._executor.start(self._prepared)}
        self._times.starting(self._workers)
        while not self._interrupted() and self._work_is_left():
            self._assign()
            if (waiting := self._executor.waiting()) is not None:
                self._say(waiting)
            for message in self._executor.poll(_POLL_SECONDS):
                self._handle(message)
        if self._owner.stop_reason is not None:
            raise LoratoryError(self._owner.stop_reason)
        if stuck := self._owner.stuck():
            raise LoratoryError(_who_is_stuck(stuck))
        return not self._work_is_left()

    def _work_is_left(self) -> bool:
        if self._busy() or self._owner.has_work(new=not self._time_is_up()):
            return True
        if self._owner.stop_reason is not None or self._owner.stuck():
            return False
        return self._scoring.pending(self._ledger.records)

    def _busy(self) -> bool:
        return any(worker.trials or worker.scoring for worker in self._workers.values())

    def _assign(self) -> None:
        """Fill every free slot; a worker without trials may score instead."""
        self._owner.know(self._workforce())
        self._score_base()
        starts = self._starts()
        self._tell_rejected()
        for number, worker in self._workers.items():
            if number in starts:
                self._executor.send(number, starts[number])
            elif worker.idle and (score := self._score()) is not None:
                worker.scoring = score.key
                self._executor.send(number, [score])

    def _starts(self) -> dict[int, list[Start]]:
        """Return trials for free slots by worker, the emptiest worker first, to spread the last trials."""
        starts: dict[int, list[Start]] = {}
        # A trial that must run alone keeps the other slots of its worker empty.
        free = {n: w for n, w in self._workers.items() if not any(map(self._owner.runs_alone, w.trials))}
        while not self._scoring.base_comes_first and (
            free := {n: w for n, w in free.items() if w.free_capacity}
        ):
            number, worker = min(free.items(), key=lambda item: len(item[1].trials))
            if not self._has_room():
                break
            empty = not worker.trials
            start = self._owner.ask(new=not self._time_is_up(), worker=worker.ready, empty=empty)
            if start is not None:
                worker.trials[start.trial.key] = start.trial.attempt
                starts.setdefault(number, []).append(start)
            if start is None or self._owner.runs_alone(start.trial.key):
                del free[number]
        return starts

    def _has_room(self) -> bool:
        """Return whether disk and main memory have room for one more trial.

        Too little main memory lets one trial run alone: waiting would free nothing of ours.

        Raises:
            LoratoryError: the disk has no room, and no trial runs that may end and free some.
        """
        if not self._owner.has_work(new=not self._time_is_up()):
            return True
        running = [key for worker in self._workers.values() for key in worker.trials]
        shortage = self._room.shortage(running)
        if shortage is None or (shortage.what != "disk" and not running):
            return True
        if not running:
            raise LoratoryError(
                f"the disk is full; free some space and run the same command again to go on: {shortage} "
                "(or set resources.disk_gib, which deletes the adapters of the worst trials)"
            )
        self._say_shortage(shortage)
        return False

    def _say_shortage(self, shortage: Shortage) -> None:
        if time.monotonic() - self._shortage_told > _SECONDS_BETWEEN_SHORTAGES:
            self._shortage_told = time.monotonic()
            self._say(f"{shortage}: running trials go on, none starts until there is more")

    def _score(self) -> Score | None:
        """Return a scoring for an idle worker, after the last trial."""
        return None if self._trials_are_left() else self._scoring.closing(self._ledger.records)

    def _score_base(self) -> None:
        """Give the untuned base to a worker that is ready, which scores it beside its first trials."""
        alone = self._scoring.base_comes_first
        free = [
            number
            for number, worker in self._workers.items()
            if worker.ready and worker.scoring is None and not (alone and worker.trials)
        ]
        if free and (score := self._scoring.opening()) is not None:
            self._workers[free[0]].scoring = score.key
            self._executor.send(free[0], [score])

    def _trials_are_left(self) -> bool:
        """Return whether a trial runs, or may begin or go on, in this run or in one with larger workers."""
        running = any(worker.trials for worker in self._workers.values())
        return running or self._owner.has_work(new=not self._time_is_up()) or bool(self._owner.stuck())

    def _workforce(self) -> Workforce:
        """Return the workers as they are known now."""
        known = [worker.described for worker in self._workers.values() if worker.described is not None]
        if known and self._patient_until is None:
            self._patient_until = time.monotonic() + _PATIENCE_SECONDS
        patient = self._patient_until is None or time.monotonic() < self._patient_until
        return Workforce(ready=known, starting=patient and len(known) < len(self._workers))

    def _tell_rejected(self) -> None:
        """Show the trials that fit no worker."""
        for record in self._owner.take_rejected():
            self._tell(["note: what fits no worker is not started; another point is drawn in its place"])
            for watcher in self._watchers:
                watcher.finished(record)

    def _handle(self, message: Message) -> None:
        for event in message.events:
            self._on_event(message.worker, event)
        if message.broken is not None:
            self._on_broken(message)

    def _on_event(self, number: int, event: Event) -> None:
        worker = self._workers[number]
        match event:
            case Ready():
                self._check_alike(event)
                worker.ready, worker.described, worker.was_ready = event, event, True
                self._times.ready(number)
                self._tell(event.notes)
                self._tell_capacity()
            case Scored():
                self._ledger.score(event, self._scoring.trial_of(event.key))
                self._scoring.done(event.key)
                worker.scoring, worker.broken_in_a_row = None, 0
            case Noted():
                self._say(event.line)
            case Worked():
                self._times.worked(number, event.seconds, decoded_tokens=event.decoded_tokens)
            case _:
                self._on_trial_event(number, event)

    def _on_trial_event(self, number: int, event: TrialEvent) -> None:
        if isinstance(event, Finished | Failed | Stopped):
            self._workers[number].release(event.key, event.attempt)
        if not self._owner.is_current(event.key, event.attempt):
            # What a worker did after the driver had stopped the trial is thrown away.
            return
        if isinstance(event, Progressed | Reported | Finished):
            # Being ready does not count: a worker may break on the same work again and again.
            self._workers[number].broken_in_a_row = 0
        stop = self._decide(event)
        if stop is not None:
            # Decisions are carried out in order: a start sent after this finds the slot free.
            self._workers[number].release(stop.key, stop.attempt)
            self._executor.send(number, [stop])
        self._count_files(event)
        record = self._owner.records[event.key]
        for watcher in self._watchers:
            watcher.observe(event, record)
            if record.state.finished:
                watcher.finished(record)

    def _count_files(self, event: TrialEvent) -> None:
        """Note what a trial takes on disk, and keep the study within its budget."""
        if isinstance(event, Reported) and event.checkpoint is not None:
            self._room.saw_checkpoint(len(event.checkpoint))
        elif isinstance(event, Finished):
            self._room.saw_files(event.key)
        else:
            return
        self._show(self._budget.enforce())

    def _decide(self, event: TrialEvent) -> Stop | None:
        match event:
            case Started():
                self._owner.started(event)
            case Progressed():
                self._owner.progressed(event)
            case Reported():
                return self._owner.reported(event)
            case Finished():
                self._owner.finished(event)
            case Failed():
                self._owner.failed(event)
            case Stopped():
                pass
        return None

    def _on_broken(self, message: Message) -> None:
        """Fail the trials of a broken worker, queue its scoring again, and replace the worker."""
        worker = self._workers[message.worker]
        if not worker.was_ready and message.refused:
            raise InputError(str(message.broken))
        if not worker.was_ready and message.deterministic:
            raise LoratoryError(f"worker {message.worker} cannot load its objective: {message.broken}")
        worker.broken_in_a_row += 1
        if worker.broken_in_a_row >= _BROKEN_IN_A_ROW:
            raise LoratoryError(
                f"worker {message.worker} broke {worker.broken_in_a_row} times in a row: {message.broken}; "
                "mend the cause and run the same command again"
            )
        self._say(
            f"worker {message.worker} broke and starts again, {worker.broken_in_a_row} of at most "
            f"{_BROKEN_IN_A_ROW - 1} times in a row: {message.broken}"
        )
        self._times.broke(message.worker)
        self._lose_trials(message.worker, str(message.broken))
        if worker.scoring is not None:
            self._scoring.give_back(worker.scoring)
        worker.ready, worker.scoring = None, None
        self._executor.replace(message.worker)

    def _lose_trials(self, number: int, message: str) -> None:
        trials = dict(self._workers[number].trials)
        for key, attempt in trials.items():
            kind, neighbours = FailureKind.WORKER_LOST, len(trials) - 1
            lost = Failed(key=key, attempt=attempt, kind=kind, message=message, neighbours=neighbours)
            self._on_trial_event(number, lost)

    def _tell(self, notes: Sequence[str]) -> None:
        """Print each note of the workers once, since workers of one kind send the same notes."""
        for note in notes:
            if note not in self._notes_told:
                self._notes_told.add(note)
                self._say(note)

    def _show(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._say(line)

    def _tell_capacity(self) -> None:
        """Say, once, how many trials run at the same time, and what that means to the sampler."""
        capacities = [worker.ready.capacity for worker in self._workers.values() if worker.ready is not None]
        if self._capacity_told or len(capacities) < len(self._workers):
            return
        self._capacity_told = True
        at_once = min(sum(capacities), self._owner.left(new=not self._time_is_up()))
        if at_once > 1:
            workers = f"{len(capacities)} worker{'s' * (len(capacities) > 1)}"
            waiting = "; some of them may wait for a slot or for scores" * (max(capacities) > 1)
            self._say(f"up to {at_once} trials at once, on {workers}{waiting}")
        if self._sampler_is_new:
            self._tell(advice_on_first_trials(self._owner.study, at_once))

    def _check_alike(self, ready: Ready) -> None:
        """Check that all workers use the same compute dtype and base, since their trials are compared."""
        recorded = {record.provenance.compute_dtype for record in self._owner.records.values()} - {None}
        if recorded and ready.compute_dtype not in recorded:
            raise LoratoryError(
                f"trials must have one compute dtype, got {ready.compute_dtype} after "
                f"{', '.join(map(str, recorded))}; go on with the kind of device that the study began on"
            )
        for other in self._workers.values():
            if other.ready is None:
                continue
            held = f"{other.ready.compute_dtype} {other.ready.hashes}"
            got = f"{ready.compute_dtype} {ready.hashes}"
            if held != got:
                raise LoratoryError(
                    f"workers must have one compute dtype and one base, got {held} and {got}; "
                    "set model.compute_dtype, and pin model.revision"
                )


def _who_is_stuck(stuck: Sequence[str]) -> str:
    return (
        f"trials that have begun must fit a worker to go on, and {', '.join(stuck)} fit none; run the same "
        "command where a worker has as much memory as they began with"
    )
