"""A queue of trials with news; it has at most one entry per trial, and never blocks its writers."""

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class News:
    """A trial with changed files.

    Attributes:
        key: the trial's key.
        final: whether its state is final.
    """

    key: str
    final: bool


class PendingTrials:
    """Trials with files that changed since they were last read, oldest news first.

    News of a trial that waits already is merged into its entry. So a reader that is slow, dead or being
    restarted costs no memory and loses nothing: all content is in the study folder. One thread reads, any
    thread writes.
    """

    def __init__(self) -> None:
        """Create an empty queue."""
        self._changed = threading.Condition()
        self._final_by_key: dict[str, bool] = {}
        self._reading = False
        self._closed = False

    def __len__(self) -> int:
        """Return the number of waiting trials."""
        return len(self._final_by_key)

    def add(self, key: str, *, final: bool) -> None:
        """Add news of a trial; returns at once."""
        with self._changed:
            self._final_by_key[key] = final or self._final_by_key.get(key, False)
            self._changed.notify_all()

    def take(self) -> News | None:
        """Wait for the oldest news; return None once closed. News counts as unread until the next call."""
        with self._changed:
            self._reading = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._final_by_key or self._closed)
            if self._closed:
                return None
            key = next(iter(self._final_by_key))
            self._reading = True
            return News(key, self._final_by_key.pop(key))

    def wait_until_read(self, timeout_seconds: float) -> bool:
        """Wait until all news is read; return False if that takes too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._final_by_key and not self._reading, timeout_seconds
            )

    def pause(self, seconds: float) -> None:
        """Make the reader wait; `close` ends the pause early."""
        until = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: self._closed, until - time.monotonic())

    def close(self) -> None:
        """End the queue: `take` returns None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
