"""Which workers have not answered, and for how long: Ray itself would wait in silence."""

import time

HUNG_SECONDS = 180.0
_PATIENCE_SECONDS = 10.0
_REPEAT_SECONDS = 60.0


class AnswerClock:
    """Keeps the times of questions and answers.

    A worker answers from the moment that Ray has given it a place, also while it loads its base. So one that
    never answered waits for resources, and one that has stopped answering hangs.
    """

    def __init__(self) -> None:
        self._born: dict[int, float] = {}
        self._asked: dict[int, float] = {}
        self._answered: set[int] = set()
        self._told = 0.0

    def born(self, worker: int) -> None:
        """An actor was asked for, or given what it needs to begin."""
        self._born[worker] = self._asked[worker] = time.monotonic()
        self._answered.discard(worker)

    def asked(self, worker: int) -> None:
        """An exchange was sent."""
        self._asked[worker] = time.monotonic()

    def answered(self, worker: int) -> None:
        """An exchange came back."""
        self._answered.add(worker)

    def overdue(self, worker: int) -> bool:
        """Whether a worker that had a place has not answered for too long."""
        return worker in self._answered and time.monotonic() - self._asked[worker] > HUNG_SECONDS

    def never_answered(self) -> int:
        """Workers without a place after some patience; 0 also where that was told a moment ago."""
        now = time.monotonic()
        silent = [
            w for w, born in self._born.items() if w not in self._answered and now - born > _PATIENCE_SECONDS
        ]
        if not silent or now - self._told < _REPEAT_SECONDS:
            return 0
        self._told = now
        return len(silent)
