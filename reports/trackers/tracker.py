"""What a tracker is: it watches the driver's event stream, on the driver's machine, and changes nothing."""

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
        """Take note of an event whose consequences stand in the study folder already.

        Args:
            event: what the worker said.
            record: the trial's record after it.
        """
        ...

    def finished(self, record: TrialRecord) -> None:
        """Take note that a trial is over: its state is final, and all its files lie in the study folder."""
        ...

    def close(self, timeout_seconds: float) -> list[str]:
        """Write what is still to be written, for so long at most, and stop.

        Args:
            timeout_seconds: longest wait. What is not written by then is written by the study's next run.

        Returns:
            Lines for the terminal: warnings, and how to upload what was written offline.
        """
        ...


class NullTracker:
    """Tracks nothing."""

    def observe(self, event: TrialEvent, record: TrialRecord) -> None:
        """Do nothing."""

    def finished(self, record: TrialRecord) -> None:
        """Do nothing."""

    def close(self, timeout_seconds: float) -> list[str]:  # noqa: ARG002
        """Nothing to say."""
        return []


class TrackerGroup:
    """Several trackers as one; what one of them raises reaches neither the caller nor the others."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        """Take the trackers to tell of everything."""
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
        """Close all within one time, and gather their lines and whatever was raised."""
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
    """The trackers that a study asks for, at work on what its folder holds.

    Finished trials that a former run left untracked are tracked now. Returns at once: libraries load in
    the background.

    Args:
        study: its `tracking` section says which.
        folder: where records are read from and runs are written to.
        study_uuid: the study's UUID; the ids of W&B runs are made of it.
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
