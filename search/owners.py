"""Owners of trials: the search, the retraining of its best settings, or one after the other."""

from collections.abc import Mapping

from loratory.objectives.events import Failed, Finished, Progressed, Ready, Reported, Start, Started, Stop
from loratory.objectives.records import TrialRecord
from loratory.search.owner import StudyOwner
from loratory.search.retraining import RetrainingOwner
from loratory.search.trial_memory import Workforce
from loratory.spaces.study import StudySpec


class SearchThenRetraining:
    """Lets the search come to its end, then the retraining of its best settings; events go by their key."""

    def __init__(self, search: StudyOwner, retraining: RetrainingOwner) -> None:
        self._search, self._retraining = search, retraining
        self._over = False

    @property
    def records(self) -> Mapping[str, TrialRecord]:
        """Every record by key."""
        return self._retraining.records

    @property
    def study(self) -> StudySpec:
        """The study."""
        return self._search.study

    @property
    def stop_reason(self) -> str | None:
        """The failure because of which no further trial is started; None if there is none."""
        return self._search.stop_reason or self._retraining.stop_reason

    def best(self) -> TrialRecord | None:
        """Return the best trial of the search."""
        return self._search.best()

    def left(self, *, new: bool) -> int:
        """Return the number of trials of the search that are left, or else of the retraining."""
        return self._search.left(new=new) or self._retraining.left(new=new)

    def know(self, workforce: Workforce) -> None:
        """Note which workers there are."""
        self._search.know(workforce)
        self._retraining.know(workforce)

    def take_rejected(self) -> list[TrialRecord]:
        """Return the trials of the search found infeasible since the last call."""
        return self._search.take_rejected()

    def runs_alone(self, key: str) -> bool:
        """Return whether a trial has lost so many workers that it runs alone."""
        return self._owner(key).runs_alone(key)

    def stuck(self) -> list[str]:
        """Return what can go on with no worker that is there."""
        return self._search.stuck() or (self._retraining.stuck() if self._over else [])

    def has_work(self, *, new: bool) -> bool:
        """Return whether `ask` would return an attempt to a worker without trials, now or later."""
        if self.stop_reason is not None:
            return False
        return self._search.has_work(new=new) or (
            self._is_over(new=new) and self._retraining.has_work(new=new)
        )

    def ask(self, *, new: bool, worker: Ready | None = None, empty: bool = True) -> Start | None:
        """Return the next attempt of the search, and of the retraining when the search is over."""
        if not self._is_over(new=new):
            return self._search.ask(new=new, worker=worker, empty=empty)
        return self._retraining.ask(new=new, worker=worker, empty=empty)

    def is_current(self, key: str, attempt: int) -> bool:
        """Return whether an event belongs to the current attempt of its trial."""
        return self._owner(key).is_current(key, attempt)

    def started(self, event: Started) -> None:
        """Store that a worker has started the trial."""
        self._owner(event.key).started(event)

    def progressed(self, event: Progressed) -> None:
        """Store optimiser steps."""
        self._owner(event.key).progressed(event)

    def reported(self, event: Reported) -> Stop | None:
        """Store an evaluation, and return a `Stop` if the pruner decides so."""
        return self._owner(event.key).reported(event)

    def finished(self, event: Finished) -> None:
        """Store a trained and scored trial."""
        self._owner(event.key).finished(event)

    def failed(self, event: Failed) -> None:
        """Store a failed attempt."""
        self._owner(event.key).failed(event)

    def _is_over(self, *, new: bool) -> bool:
        """Return whether every trial of the search has its end, and none may start in this run."""
        self._over = self._over or self._search.left(new=new) == 0
        return self._over

    def _owner(self, key: str) -> StudyOwner | RetrainingOwner:
        return self._search if key in self._search.records else self._retraining


TrialOwner = StudyOwner | RetrainingOwner | SearchThenRetraining
"""Decides which trial runs next, and handles the events of trials; the driver has one."""
