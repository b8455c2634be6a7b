"""`RetrainingOwner`: the best settings of a search, trained again on new seeds. None of it reaches Optuna."""

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence

from loratory.objectives.events import Failed, Finished, Progressed, Ready, Reported, Start, Started, Stop
from loratory.objectives.records import FailureKind, TrialRecord, TrialState
from loratory.reports.ranking import order
from loratory.search import failure_rules
from loratory.search.best_settings import best_settings, retrainings_left
from loratory.search.failure_watch import FailureWatch
from loratory.search.ledger import TrialLedger
from loratory.search.trial_memory import Placement, TrialMemory, Workforce
from loratory.spaces.confirmation import ConfirmationSpec
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import parse_retraining_key, resolve_retraining, trial_key


class RetrainingOwner:
    """Decides which retraining runs next, and handles its events, as `StudyOwner` does for the search.

    Settings are chosen when the first training is asked for: the search must be over then. What has a record
    is never begun again, and what was interrupted goes on. Early stopping is the worker's; nothing is pruned.

    Args:
        study: the study.
        confirmation: how many settings are trained again, and how often.
        search: records of the search by key.
        ledger: records and files of the retrainings.
        memory: prediction of what a trial takes; None: everything fits every worker.
        say: prints a line.
    """

    def __init__(
        self,
        study: StudySpec,
        confirmation: ConfirmationSpec,
        *,
        search: dict[str, TrialRecord],
        ledger: TrialLedger,
        memory: TrialMemory | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._study, self._confirmation, self._search = study, confirmation, search
        self._records = ChainMap(ledger.records, search)
        self._ledger, self._memory, self._say = ledger, memory or TrialMemory(study), say
        self._workforce = Workforce()
        self._queue: list[str] | None = None
        self._bytes: dict[int, int] = {}
        states = {record.state for record in ledger.records.values()}
        self._watch = FailureWatch(any_success=TrialState.COMPLETE in states)

    @property
    def records(self) -> Mapping[str, TrialRecord]:
        """Every record by key: those of the retrainings, then those of the search."""
        return self._records

    @property
    def study(self) -> StudySpec:
        """The study."""
        return self._study

    @property
    def stop_reason(self) -> str | None:
        """The failure because of which nothing more is started; None if there is none."""
        return self._watch.verdict

    @property
    def total(self) -> int:
        """Number of retrainings: recorded or in line; before the choice, as many as there may be."""
        if self._queue is None:
            return max(self._confirmation.runs, len(self._ledger.records))
        # A copy, since displays ask from their own thread.
        return len({*self._ledger.records.copy(), *self._queue})

    @property
    def nothing_left(self) -> str:
        """A line that says so where every training has its end."""
        numbers = self._numbers()
        settings, seeds = len(numbers), self._confirmation.seeds
        have = "settings have" if settings > 1 else "setting has"
        return f"nothing to train: {settings} {have} their {seeds} new seed{'s' * (seeds > 1)}"

    def best(self) -> TrialRecord | None:
        """Return the best trial of the search: retrainings have no place in its ranking."""
        ranked = order(list(self._search.values()), self._study.metric_direction)
        return ranked[0] if ranked else None

    def left(self, *, new: bool) -> int:  # noqa: ARG002 (an owner's signature)
        """Return the number of trainings that are unfinished or not begun."""
        begun = sum(not record.state.finished for record in self._ledger.records.values())
        return begun + sum(key not in self._ledger.records for key in self._queued())

    def know(self, workforce: Workforce) -> None:
        """Note which workers there are."""
        self._workforce = workforce

    def take_rejected(self) -> list[TrialRecord]:
        """Return nothing: settings that were trained once are not rejected, they wait for a larger worker."""
        return []

    def runs_alone(self, key: str) -> bool:
        """Return whether a training has lost so many workers that it runs alone."""
        return failure_rules.runs_alone(self._ledger.records.get(key))

    def stuck(self) -> list[str]:
        """Return what can be trained on no worker that is there."""
        return [key for key in self._queued() if self._is_stuck(key)]

    def has_work(self, *, new: bool) -> bool:  # noqa: ARG002 (an owner's signature)
        """Return whether `ask` would return an attempt to a worker without trials, now or later."""
        return self.stop_reason is None and not all(map(self._is_stuck, self._queued()))

    def ask(self, *, new: bool, worker: Ready | None = None, empty: bool = True) -> Start | None:  # noqa: ARG002
        """Return the next attempt to run; None where nothing is left, or nothing that fits the worker.

        Args:
            new: unused: the time limit of a study is for its search.
            worker: its worker, if known.
            empty: whether the worker has no other trial and may take one that must run alone.
        """
        if self.stop_reason is not None:
            return None
        # What runs alone comes last, because it leaves the other slots of the worker empty.
        line = sorted(self._queued(), key=self.runs_alone)
        for key in line:
            if (empty or not self.runs_alone(key)) and self._place(key, worker) is Placement.HERE:
                self._queued().remove(key)
                return self._begin(key, worker)
        return None

    def started(self, event: Started) -> None:
        """Store that a worker has begun."""
        self._ledger.started(event)

    def progressed(self, event: Progressed) -> None:
        """Store optimiser steps."""
        self._ledger.progressed(event)

    def reported(self, event: Reported) -> Stop | None:
        """Store an evaluation and its checkpoint; nothing is pruned."""
        self._ledger.measured(event)
        self._ledger.keep_checkpoint(event)
        return None

    def finished(self, event: Finished) -> None:
        """Store a trained and scored adapter."""
        if (failure := failure_rules.not_finite(event)) is not None:
            self.failed(failure)
            return
        self._ledger.complete(event, value=event.scores.aggregate[self._study.metric])
        self._watch.succeeded()

    def failed(self, event: Failed) -> None:
        """Store a failed attempt; its kind decides the state."""
        error = failure_rules.error_of(event)
        self._ledger.took(event.key, event.resources)
        if event.kind is FailureKind.DIVERGED:
            self._ledger.prune(event.key, f"diverged: {event.message}", error)
        elif event.kind is FailureKind.OOM:
            self._ledger.infeasible(event.key, error)
        else:
            final = failure_rules.is_final(event, self._ledger.records[event.key], self._study.attempts)
            self._ledger.attempt_failed(event.key, error, final=final)
            if not final:
                self._queued().append(event.key)
        self._watch.failed(event)

    def is_current(self, key: str, attempt: int) -> bool:
        """Return whether an event belongs to the current attempt, not to one that was replaced."""
        record = self._ledger.records.get(key)
        return record is not None and record.state is TrialState.RUNNING and record.attempt == attempt

    def _begin(self, key: str, worker: Ready | None) -> Start:
        known = self._ledger.records.get(key)
        number, index = parse_retraining_key(key)
        attempt = known.attempt + 1 if known else 1
        params = self._params(key)
        spec = resolve_retraining(self._study, number=number, index=index, attempt=attempt, params=params)
        return self._ledger.begin(spec, worker)

    def _queued(self) -> list[str]:
        """Return what has no worker and no end, in the order of its start; the first call chooses it."""
        if self._queue is None:
            self._queue = retrainings_left(
                list(self._search.values()),
                list(self._ledger.records.values()),
                direction=self._study.metric_direction,
                confirmation=self._confirmation,
            )
            self._tell_choice(self._numbers())
        return self._queue

    def _numbers(self) -> list[int]:
        trials = list(self._search.values())
        return best_settings(trials, self._study.metric_direction, self._confirmation)

    def _tell_choice(self, numbers: Sequence[int]) -> None:
        """Say which settings are trained again, and how much of that is done."""
        top, seeds = self._confirmation.top, self._confirmation.seeds
        if not self._queue:
            return
        if len(numbers) < top:
            self._say(f"note: confirmation.top is {top}, trials with a score are {len(numbers)}")
        *others, last = [str(number) for number in numbers] or ["none"]
        named = f"{', '.join(others)} and {last}" if others else last
        done = sum(record.state.finished for record in self._ledger.records.values())
        finished = f"; {done} of {self.total} are done" if self._ledger.records else ""
        trials = f"trials {named}" if len(numbers) > 1 else f"trial {named}"
        each = f"{seeds} new seed{'s' * (seeds > 1)}{' each' * (len(numbers) > 1)}"
        self._say(f"retraining the settings of {trials} on {each}{finished}")

    def _params(self, key: str) -> dict[str, object]:
        known = self._ledger.records.get(key)
        number, _ = parse_retraining_key(key)
        return known.params if known else self._search[trial_key(number)].params

    def _place(self, key: str, worker: Ready | None) -> Placement:
        number, _ = parse_retraining_key(key)
        if number not in self._bytes:
            self._bytes[number] = self._memory.bytes_of_settings(self._params(key))
        return self._workforce.place(self._bytes[number], worker)

    def _is_stuck(self, key: str) -> bool:
        return self._place(key, None) is Placement.NOWHERE
