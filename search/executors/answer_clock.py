"""Detect workers that do not answer; Ray itself would wait without a message."""

import time

HUNG_SECONDS = 180.0
_PATIENCE_SECONDS = 10.0
_REPEAT_SECONDS = 60.0


class AnswerClock:
    """Keeps the times of questions and answers.

    A worker answers as soon as Ray has placed it, even while it loads its base. So a worker that has never
    answered waits for resources, and a worker that has stopped answering hangs.
    """

    def __init__(self) -> None:
        self._born: dict[int, float] = {}
        self._asked: dict[int, float] = {}
        self._answered: set[int] = set()
        self._told = 0.0

    def born(self, worker: int) -> None:
        """Record that an actor was requested, or received what it needs to begin."""
        self._born[worker] = self._asked[worker] = time.monotonic()
        self._answered.discard(worker)

    def asked(self, worker: int) -> None:
        """Record that an exchange was sent."""
        self._asked[worker] = time.monotonic()

    def answered(self, worker: int) -> None:
        """Record that an exchange came back."""
        self._answered.add(worker)

    def overdue(self, worker: int) -> bool:
        """Return whether a worker that has answered before is silent for too long."""
        return worker in self._answered and time.monotonic() - self._asked[worker] > HUNG_SECONDS

    def never_answered(self) -> int:
        """Return the number of workers that have waited too long for a place; 0 if it was reported lately."""
        now = time.monotonic()
        silent = [
            w for w, born in self._born.items() if w not in self._answered and now - born > _PATIENCE_SECONDS
        ]
        if not silent or now - self._told < _REPEAT_SECONDS:
            return 0
        self._told = now
        return len(silent)
