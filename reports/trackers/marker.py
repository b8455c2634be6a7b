"""<tracker>.json in a trial's folder, the marker: how much of the trial a tracker has written."""

from pathlib import Path

from pydantic import ValidationError

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.records import TrialRecord, TrialState
from loratory.spaces.frozen import Frozen


class Position(Frozen):
    """Position in a run's history.

    Rows are counted because a server counts them too: the difference tells what it has not received.
    """

    rows: int = 0
    """Number of rows of history."""
    optimizer_step: int = 0
    """Optimiser step of the last point of the curve among them."""
    evaluation: int = 0
    """Grid index of the last evaluation among them."""


class Marker(Frozen):
    """State of a tracker's output for one trial."""

    id: str
    """The run's id."""
    mode: str
    """`online`, `offline` or `files`."""
    folder: str = ""
    """The run's folder, relative to the study's."""
    complete: bool = False
    """True if everything is written."""
    state: TrialState = TrialState.RUNNING
    """The trial's state at the time of writing."""
    attempt: int = 1
    """The trial's attempt at the time of writing."""
    sent: tuple[Position, ...] = (Position(),)
    """The latest positions of a run that grows while its trial trains."""
    conclusion: str = ""
    """Hash of what the run says of the study's verdict; empty where it says nothing."""

    def covers(self, record: TrialRecord, conclusion: str = "") -> bool:
        """Return whether a finished trial is written completely, as its record and the verdict are now."""
        written = (self.state, self.attempt, self.conclusion)
        return self.complete and written == (record.state, record.attempt, conclusion)


def read_marker(path: Path) -> Marker | None:
    """Return the marker in a file; None if it is missing or unreadable."""
    try:
        return Marker.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_marker(path: Path, marker: Marker) -> None:
    """Replace a marker atomically."""
    write_atomically(path, marker.model_dump_json().encode())
