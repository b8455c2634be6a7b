"""The interface between the driver and its workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from loratory.objectives.events import Decision, Event
from loratory.objectives.objective import Prepared


@dataclass(frozen=True, kw_only=True)
class Message:
    """Events that a worker sent since the last message.

    Attributes:
        worker: which worker.
        events: in the order in which they happened.
        broken: why the worker as a whole can work no more, in a line; null while it can.
        deterministic: it broke by an exception of its own, which another try would meet again.
        refused: that exception says what in the study has to be changed.
    """

    worker: int
    events: tuple[Event, ...] = ()
    broken: str | None = None
    deterministic: bool = False
    refused: bool = False


class Executor(Protocol):
    """Holds the workers of one study. Only the driver's thread calls it."""

    def check(self) -> None:
        """Check that the machines of the workers can be used, before libraries are imported for seconds.

        Raises:
            InputError: they cannot; the message says on which machine to mend what.
        """
        ...

    def open(self) -> None:
        """Check that the workers fit, and let them import libraries. A second call does nothing.

        Raises:
            InputError: what was asked for exists on no node.
        """
        ...

    def start(self, prepared: Prepared) -> Sequence[int]:
        """Start every worker and return their ids at once; each sends `Ready` when it holds its base."""
        ...

    def waiting(self) -> str | None:
        """Return a line from time to time while workers wait for resources that others hold; else None."""
        ...

    def send(self, worker: int, decisions: Sequence[Decision]) -> None:
        """Send decisions to a worker with its next exchange."""
        ...

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Wait until a worker has sent something, and return the messages of all workers."""
        ...

    def replace(self, worker: int) -> None:
        """Replace a broken worker by a new one; decisions sent to the old one are lost."""
        ...

    def close(self) -> None:
        """End every worker at once."""
        ...
