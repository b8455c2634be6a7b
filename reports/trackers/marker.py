"""<tracker>.json in a trial's folder: how far a tracker has come with a trial."""

from pathlib import Path

from pydantic import ValidationError

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.records import TrialRecord, TrialState
from loratory.spaces.frozen import Frozen


class Position(Frozen):
    """How far a run's history goes.

    Rows are counted because a server counts them too: what it has not received can be told from it.
    """

    rows: int = 0
    """Rows of history in all."""
    optimizer_step: int = 0
    """The last point of the curve among them."""
    evaluation: int = 0
    """The last evaluation among them."""


class Marker(Frozen):
    """What a tracker has written of one trial."""

    id: str
    """The run's id."""
    mode: str
    """`online`, `offline` or `files`."""
    folder: str = ""
    """The run's folder, below the study's."""
    complete: bool = False
    """Everything is written, and nothing need be written again."""
    state: TrialState = TrialState.RUNNING
    """The trial's state when it was written."""
    attempt: int = 1
    """The trial's attempt when it was written."""
    sent: tuple[Position, ...] = (Position(),)
    """The latest positions of a run that is written as it goes."""

    def covers(self, record: TrialRecord) -> bool:
        """Whether a finished trial is written as its record has it."""
        return self.complete and (self.state, self.attempt) == (record.state, record.attempt)


def read_marker(path: Path) -> Marker | None:
    """The marker in a file; None where there is none, or none that can be read."""
    try:
        return Marker.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_marker(path: Path, marker: Marker) -> None:
    """Replace a marker in one step."""
    write_atomically(path, marker.model_dump_json().encode())
