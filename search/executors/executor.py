"""The interface between the driver and its workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from loratory.objectives.events import Decision, Event
from loratory.objectives.objective import Prepared


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a worker sent since last time.

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
    """Holds the workers of one study. Called by the driver's one thread."""

    def open(self) -> None:
        """Make sure that workers have a place, and let them import libraries. A second call does nothing.

        Raises:
            InputError: what was asked for exists on no node.
        """
        ...

    def start(self, prepared: Prepared) -> Sequence[int]:
        """Begin on every worker; returns their ids at once, each sends `Ready` when it holds its base."""
        ...

    def waiting(self) -> str | None:
        """A line, now and then, while workers wait for a place that others hold."""
        ...

    def send(self, worker: int, decisions: Sequence[Decision]) -> None:
        """Hand decisions to a worker with its next exchange."""
        ...

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Wait until a worker has something to say, and return what all have said."""
        ...

    def replace(self, worker: int) -> None:
        """Start a new worker in the place of a broken one; what it was sent is gone."""
        ...

    def close(self) -> None:
        """End every worker at once."""
        ...
