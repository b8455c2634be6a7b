"""A worker: one objective on a separate thread, and two queues."""

import os
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loratory.objectives.events import Decision, Event, Failed, Finished, Score, Scored, Start, Stopped
from loratory.objectives.objective import ObjectiveKind, Prepared, objective_kind
from loratory.search.executors.executor import Message
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec


@dataclass(frozen=True)
class Reply:
    """The result of an exchange, in plain values, since an exception may not survive pickling.

    Attributes:
        events: what has happened.
        broken: why the worker can work no more; None while it can.
        refused: whether that is something in the study that has to be changed.
    """

    events: tuple[Event, ...]
    broken: str | None
    refused: bool = False

    def message(self, worker: int) -> Message:
        """The same from a worker; what broke it was an exception of its own."""
        return Message(
            worker=worker,
            events=self.events,
            broken=self.broken,
            deterministic=True,
            refused=self.refused,
        )


class WorkerHost:
    """Runs an objective for the duration of a study. Any thread may call `exchange`."""

    def __init__(self, study: StudySpec, prepared: Prepared | None = None) -> None:
        """Start the thread, which imports libraries.

        Args:
            study: the study.
            prepared: what `begin` hands over, where it is there already.
        """
        self._study, self._prepared = study, prepared
        self._changed = threading.Condition()
        self._inbox: list[Decision] = []
        self._outbox: list[Event] = []
        self._active: set[str] = set()
        self._broken: str | None = None
        self._refused = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="objective", daemon=True)
        self._thread.start()

    def begin(self, prepared: Prepared) -> Reply:
        """Pass the prepared study to the thread, which loads the base."""
        with self._changed:
            self._prepared = prepared
            self._changed.notify_all()
            return self._reply(())

    def exchange(self, decisions: Sequence[Decision], wait_seconds: float) -> Reply:
        """Pass decisions to the objective and return its events; wait a moment if there are none."""
        with self._changed:
            self._inbox += decisions
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._outbox or self._broken, wait_seconds)
            events, self._outbox = tuple(self._outbox), []
            return self._reply(events)

    def _reply(self, events: tuple[Event, ...]) -> Reply:
        return Reply(events, self._broken, self._refused)

    def close(self) -> None:
        """End the thread after its current piece of work."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            _limit_threads(self._study.resources.cpus_per_worker)
            kind = objective_kind(self._study.objective)
            kind.import_for_build()
            early = None if self._closing else _loaded_early(kind, self._study)
            with self._changed:
                self._changed.wait_for(lambda: self._prepared is not None or self._closing)
            if self._prepared is None or self._closing:
                return
            objective = kind.build(self._study, replace(self._prepared, early=early))
            events = objective.advance(())
            while not self._closing:
                self._put(events)
                events = objective.advance(self._take(idle=not events and not self._active))
        except BaseException as error:
            self._break(error)

    def _put(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Finished | Failed | Stopped | Scored):
                self._active.discard(event.key)
        with self._changed:
            self._outbox += events
            self._changed.notify_all()

    def _take(self, *, idle: bool) -> list[Decision]:
        with self._changed:
            if idle:
                self._changed.wait_for(lambda: self._inbox or self._closing)
            decisions, self._inbox = self._inbox, []
        for decision in decisions:
            if isinstance(decision, Start):
                self._active.add(decision.trial.key)
            elif isinstance(decision, Score):
                self._active.add(decision.key)
        return decisions

    def _break(self, error: BaseException) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        with self._changed:
            place = f"{last.name}, {Path(last.filename).name}:{last.lineno}"
            self._refused = isinstance(error, InputError)
            self._broken = str(error) if self._refused else f"{type(error).__name__}: {error} (in {place})"
            self._changed.notify_all()


def _loaded_early(kind: ObjectiveKind, study: StudySpec) -> Any:
    """Return what can be loaded before the study is prepared; None where that fails."""
    try:
        return kind.load_early(study)
    except Exception:  # the driver may find the cause first, and say it better
        return None


def _limit_threads(cpus: float) -> None:
    """Limit a worker's threads to its share of the cores; each library reads its variable on import."""
    threads = str(max(1, int(cpus)))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
