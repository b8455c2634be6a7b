"""Which trials have news: a queue that never grows beyond one entry a trial, and never blocks its writer."""

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class News:
    """A trial to look at.

    Attributes:
        key: the trial's key.
        final: its state is final.
    """

    key: str
    final: bool


class PendingTrials:
    """Trials whose files changed since they were last looked at, oldest first.

    News of a trial that is waiting already joins it. So a reader that is slow, dead or being restarted
    costs no memory and loses nothing: everything to be said stands in the study folder. One thread reads,
    any thread writes.
    """

    def __init__(self) -> None:
        """Begin with no news."""
        self._changed = threading.Condition()
        self._final_by_key: dict[str, bool] = {}
        self._reading = False
        self._closed = False

    def __len__(self) -> int:
        """Trials that wait."""
        return len(self._final_by_key)

    def add(self, key: str, *, final: bool) -> None:
        """Say that a trial has news; returns at once."""
        with self._changed:
            self._final_by_key[key] = final or self._final_by_key.get(key, False)
            self._changed.notify_all()

    def take(self) -> News | None:
        """Wait for the oldest news; None once closed. The news counts as unread until the next call."""
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
        """Wait until nothing waits and the reader wants more; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._final_by_key and not self._reading, timeout_seconds
            )

    def pause(self, seconds: float) -> None:
        """Let the reader wait, unless `close` comes before."""
        until = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: self._closed, until - time.monotonic())

    def close(self) -> None:
        """Send the reader home."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
