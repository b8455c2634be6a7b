"""The driver: one event loop between the owner, the workers and those who watch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loratory.objectives.events import (
    Decision,
    Event,
    Failed,
    Finished,
    Progressed,
    Ready,
    Reported,
    Scored,
    Started,
    Stop,
    Stopped,
    TrialEvent,
)
from loratory.objectives.objective import Prepared
from loratory.objectives.records import FailureKind
from loratory.reports.trackers.tracker import Tracker
from loratory.search.executors.executor import Executor, Message
from loratory.search.ledger import TrialLedger
from loratory.search.owner import StudyOwner
from loratory.search.scoring import TEST_WINNER, ScoringQueue
from loratory.spaces.errors import LoratoryError

_POLL_SECONDS = 0.5
_BROKEN_IN_A_ROW = 3


@dataclass
class _Worker:
    """What the driver knows of a worker: its trials as number to attempt, and the scoring it is at."""

    ready: Ready | None = None
    trials: dict[int, int] = field(default_factory=dict)
    scoring: str | None = None
    broken_in_a_row: int = 0

    @property
    def idle(self) -> bool:
        return self.ready is not None and not self.trials and self.scoring is None

    def release(self, number: int, attempt: int) -> None:
        if self.trials.get(number) == attempt:
            del self.trials[number]


class Driver:
    """Runs a study to its end, or until it is told to stop.

    The order at each event: decide, write to the storage, answer the worker, and only then feed those who
    watch, so that a slow display or tracker never keeps a GPU waiting.

    Args:
        owner: decides about trials.
        ledger: keeps the scorings.
        scoring: what is scored outside trials.
        executor: holds the workers.
        prepared: what they build the objective from.
        watchers: trackers and the display.
        interrupted: whether to stop now, leaving every trial resumable.
        time_is_up: whether to start no new trial.
        say: prints a line.
    """

    def __init__(
        self,
        owner: StudyOwner,
        *,
        ledger: TrialLedger,
        scoring: ScoringQueue,
        executor: Executor,
        prepared: Prepared,
        watchers: Sequence[Tracker],
        interrupted: Callable[[], bool],
        time_is_up: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._owner, self._ledger, self._scoring = owner, ledger, scoring
        self._executor, self._prepared, self._watchers = executor, prepared, watchers
        self._interrupted, self._time_is_up, self._say = interrupted, time_is_up, say
        self._workers: dict[int, _Worker] = {}

    def run(self) -> bool:
        """Run until nothing is left to do, or until interrupted.

        Returns:
            Whether everything is done.

        Raises:
            InputError: workers that do not fit the machine.
            LoratoryError: workers cannot be kept alive, or trials fail too alike to go on.
        """
        if not self._work_is_left():
            return True
        self._workers = {worker: _Worker() for worker in self._executor.start(self._prepared)}
        while not self._interrupted() and self._work_is_left():
            self._assign()
            if (waiting := self._executor.waiting()) is not None:
                self._say(waiting)
            for message in self._executor.poll(_POLL_SECONDS):
                self._handle(message)
        if self._owner.stop_reason is not None:
            raise LoratoryError(self._owner.stop_reason)
        return not self._work_is_left()

    def _work_is_left(self) -> bool:
        if self._busy() or self._owner.has_work(new=not self._time_is_up()):
            return True
        return self._owner.stop_reason is None and self._scoring.pending(self._owner.best())

    def _busy(self) -> bool:
        return any(worker.trials or worker.scoring for worker in self._workers.values())

    def _assign(self) -> None:
        for number, worker in self._workers.items():
            decision = self._next(worker) if worker.idle else None
            if decision is not None:
                self._executor.send(number, [decision])

    def _next(self, worker: _Worker) -> Decision | None:
        """What an idle worker does next: the base's score first, then trials, then the final scores."""
        if not self._scoring.before_trials:
            start = self._owner.ask(new=not self._time_is_up(), worker=worker.ready)
            if start is not None:
                worker.trials[start.trial.number] = start.trial.attempt
                return start
        score = self._scoring.opening()
        if score is None and not any(other.trials for other in self._workers.values()):
            score = self._scoring.closing(self._owner.best())
        worker.scoring = score.key if score else None
        return score

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
                worker.ready = event
            case Scored():
                winner = self._owner.best() if event.key == TEST_WINNER else None
                self._ledger.score(event, number=winner.number if winner else None)
                self._scoring.done(event.key)
                worker.scoring, worker.broken_in_a_row = None, 0
            case _:
                self._on_trial_event(number, event)

    def _on_trial_event(self, number: int, event: TrialEvent) -> None:
        if isinstance(event, Finished | Failed | Stopped):
            self._workers[number].release(event.number, event.attempt)
        if not self._owner.is_current(event.number, event.attempt):
            # What a worker did after the driver had stopped the trial is thrown away.
            return
        if isinstance(event, Progressed | Reported | Finished):
            # Being ready is no proof: a worker may break on the same work again and again.
            self._workers[number].broken_in_a_row = 0
        stop = self._decide(event)
        if stop is not None:
            self._executor.send(number, [stop])
        record = self._owner.records[event.number]
        for watcher in self._watchers:
            watcher.observe(event, record)
            if record.state.finished:
                watcher.finished(record)

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
        """Fail the worker's trials, give back its scoring, and put a new worker in its place."""
        worker = self._workers[message.worker]
        never_ready = worker.ready is None
        if never_ready and message.deterministic:
            raise LoratoryError(f"worker {message.worker} cannot load its objective: {message.broken}")
        worker.broken_in_a_row += 1
        if worker.broken_in_a_row >= _BROKEN_IN_A_ROW:
            raise LoratoryError(
                f"worker {message.worker} broke {worker.broken_in_a_row} times in a row: {message.broken}; "
                "mend the cause and run the same command again"
            )
        for number, attempt in list(worker.trials.items()):
            lost = Failed(
                number=number, attempt=attempt, kind=FailureKind.WORKER_LOST, message=str(message.broken)
            )
            self._on_trial_event(message.worker, lost)
        if worker.scoring is not None:
            self._scoring.give_back(worker.scoring)
        worker.ready, worker.scoring = None, None
        worker.trials.clear()
        self._executor.replace(message.worker)

    def _check_alike(self, ready: Ready) -> None:
        """Trials are compared with one another, so all workers compute alike on the same base."""
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
