"""A tracker that writes on its own thread, from the files of the study folder."""

import threading
import time
from typing import Protocol

from loratory.objectives.events import TrialEvent
from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.trackers.conclusion import read_conclusion
from loratory.reports.trackers.marker import read_marker
from loratory.reports.trackers.pending import News, PendingTrials

_TRIES = 3
_FAILURES_TO_GIVE_UP = 6


class Sink(Protocol):
    """Target of a `BackgroundTracker`. One thread calls all methods but `abort`. Methods may raise."""

    name: str
    """Name of the sink, for messages."""
    marker: str
    """Name of the marker file, without its suffix."""

    def update(self, key: str) -> None:
        """Write the news of a running trial."""
        ...

    def complete(self, key: str) -> None:
        """Write a finished trial completely, unless its marker says that this is done."""
        ...

    def abort(self) -> None:
        """Make a call return soon that hangs on another thread."""
        ...

    def close(self, timeout_seconds: float) -> list[str]:
        """Stop, and return lines for the terminal. No method is called afterwards."""
        ...


class BackgroundTracker:
    """Tells a sink which trials have news, until all are written or the sink keeps failing.

    The caller only passes a trial's key; the sink reads the study folder. A trial that cannot be written is
    tried again. If that fails too, it gets no marker, and the study's next run writes it.
    """

    def __init__(self, sink: Sink, folder: StudyFolder, *, first_pause_seconds: float = 0.1) -> None:
        """Start the thread; it begins with the finished trials that have no marker yet.

        Args:
            sink: the target; only the thread calls it.
            folder: the study's folder.
            first_pause_seconds: pause after a failure; it doubles with each failure in a row.
        """
        self._sink = sink
        self._folder = folder
        self._first_pause_seconds = first_pause_seconds
        self._pending = PendingTrials()
        self._refilled = threading.Event()
        self._tries: dict[str, int] = {}
        self._failures_in_a_row = 0
        self._unwritten: set[str] = set()
        self._last_error = ""
        self._thread = threading.Thread(target=self._run, name=f"tracker {sink.name}", daemon=True)
        self._thread.start()

    def observe(self, event: TrialEvent, record: TrialRecord) -> None:  # noqa: ARG002
        """Note that a running trial has news."""
        self._pending.add(record.key, final=False)

    def finished(self, record: TrialRecord) -> None:
        """Note that a trial is over; one that no worker was given has nothing to write."""
        if record.never_started:
            return
        self._pending.add(record.key, final=True)

    def close(self, timeout_seconds: float) -> list[str]:
        """Wait for the sink, stop it and the thread, and return lines about what went wrong."""
        deadline = time.monotonic() + timeout_seconds
        in_time = self._refilled.wait(timeout_seconds)
        in_time &= self._pending.wait_until_read(deadline - time.monotonic())
        left = len(self._pending)
        self._pending.close()
        if not in_time:
            self._sink.abort()
        self._thread.join(max(1.0, deadline - time.monotonic()))
        lines = self._sink.close(max(1.0, deadline - time.monotonic()))
        return [*self._complaints(in_time, left), *lines]

    def _complaints(self, in_time: bool, left: int) -> list[str]:
        remedy = "the same command again writes what is missing"
        lines = []
        if self._unwritten:
            count = f"{len(self._unwritten)} of its trials"
            lines.append(f"{self._sink.name}: {count} not written: {self._last_error}; {remedy}")
        if not in_time:
            lines.append(f"{self._sink.name}: stopped with {max(left, 1)} trials to write; {remedy}")
        return lines

    def _run(self) -> None:
        try:
            self._refill()
        except Exception as error:
            self._last_error = f"{type(error).__name__}: {error}"
        self._refilled.set()
        while (news := self._pending.take()) is not None:
            if self._failures_in_a_row >= _FAILURES_TO_GIVE_UP:
                self._leave(news)
            else:
                self._write(news)

    def _refill(self) -> None:
        for record in (*self._folder.read_records(), *self._folder.read_retrained()):
            if record.state.finished and not record.never_started:
                marker = read_marker(self._folder.marker(record.key, self._sink.marker))
                said = read_conclusion(self._folder, record.key).digest
                if marker is None or not marker.covers(record, said):
                    self._pending.add(record.key, final=True)

    def _write(self, news: News) -> None:
        try:
            if news.final:
                self._sink.complete(news.key)
            else:
                self._sink.update(news.key)
        except Exception as error:
            self._failed(news, error)
        else:
            # An update may have had nothing to write: only a complete trial proves that the sink works.
            if news.final:
                self._failures_in_a_row = 0
                self._unwritten.discard(news.key)

    def _failed(self, news: News, error: Exception) -> None:
        self._last_error = f"{type(error).__name__}: {error}".splitlines()[0]
        self._pending.pause(self._first_pause_seconds * 2**self._failures_in_a_row)
        if not news.final:
            return
        self._failures_in_a_row += 1
        self._tries[news.key] = self._tries.get(news.key, 0) + 1
        if self._tries[news.key] < _TRIES:
            self._pending.add(news.key, final=True)
        else:
            self._leave(news)

    def _leave(self, news: News) -> None:
        if news.final:
            self._unwritten.add(news.key)
