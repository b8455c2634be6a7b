"""The interface of trackers, which observe the driver's events on its machine and change nothing."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from loratory.objectives.events import TrialEvent
from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import StudyFolder
from loratory.spaces.study import StudySpec
from loratory.spaces.tracking import WandbMode


class Tracker(Protocol):
    """A consumer of the event stream. None of its methods raises, and only `close` may wait."""

    def observe(self, event: TrialEvent, record: TrialRecord) -> None:
        """Note an event; its consequences are in the study folder already.

        Args:
            event: the worker's event.
            record: the trial's record after the event.
        """
        ...

    def finished(self, record: TrialRecord) -> None:
        """Note that a trial is over: its state is final, and all its files are in the study folder."""
        ...

    def close(self, timeout_seconds: float) -> list[str]:
        """Write what is not written yet, and stop.

        Args:
            timeout_seconds: longest wait. The study's next run writes what is missing after it.

        Returns:
            Lines for the terminal: warnings, and how to upload what was written offline.
        """
        ...


class NullTracker:
    """A tracker that does nothing."""

    def observe(self, event: TrialEvent, record: TrialRecord) -> None:
        """Do nothing."""

    def finished(self, record: TrialRecord) -> None:
        """Do nothing."""

    def close(self, timeout_seconds: float) -> list[str]:  # noqa: ARG002
        """Return no lines."""
        return []


class TrackerGroup:
    """Several trackers as one; an error in one reaches neither the caller nor the others."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        """Take the trackers."""
        self._trackers = tuple(trackers)
        self._errors: dict[str, None] = {}

    def observe(self, event: TrialEvent, record: TrialRecord) -> None:
        """Pass an event on."""
        for tracker in self._trackers:
            self._guard(tracker, partial(tracker.observe, event, record))

    def finished(self, record: TrialRecord) -> None:
        """Pass the end of a trial on."""
        for tracker in self._trackers:
            self._guard(tracker, partial(tracker.finished, record))

    def close(self, timeout_seconds: float) -> list[str]:
        """Close all trackers within one timeout, and return their lines and errors."""
        lines: list[str] = []
        deadline = time.monotonic() + timeout_seconds
        for tracker in self._trackers:
            left = max(0.0, deadline - time.monotonic())
            lines += self._guard(tracker, partial(tracker.close, left)) or []
        return [*lines, *self._errors]

    def _guard(self, tracker: Tracker, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            self._errors[f"{type(tracker).__name__}: {type(error).__name__}: {error}"] = None


def open_trackers(study: StudySpec, folder: StudyFolder, study_uuid: str) -> Tracker:
    """Start the trackers that a study asks for, and return them as one.

    They begin with the finished trials that an earlier run left untracked. This returns at once: libraries
    load in the background.

    Args:
        study: the study; its section `tracking` names the trackers.
        folder: folder to read records from and to write runs to.
        study_uuid: the study's UUID, part of the ids of W&B runs.
    """
    from loratory.reports.trackers.background import BackgroundTracker
    from loratory.reports.trackers.wandb_environment import requested_mode

    trackers: list[Tracker] = []
    mode = requested_mode(study.tracking.wandb)
    if mode is not WandbMode.OFF:
        from loratory.reports.trackers.wandb_sink import WandbSink

        trackers.append(BackgroundTracker(WandbSink(study, folder, study_uuid=study_uuid, mode=mode), folder))
    if study.tracking.tensorboard:
        from loratory.reports.trackers.tensorboard import TensorBoardSink

        trackers.append(BackgroundTracker(TensorBoardSink(study, folder), folder))
    return TrackerGroup(trackers) if trackers else NullTracker()
