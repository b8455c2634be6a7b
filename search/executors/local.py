"""One worker in the driver's own process, without Ray: for debugging and fast tests."""

from collections.abc import Sequence

from loratory.objectives.events import Decision
from loratory.objectives.objective import Prepared
from loratory.search.executors.executor import Message
from loratory.search.executors.host import WorkerHost
from loratory.spaces.study import StudySpec


class LocalExecutor:
    """A single worker on a thread."""

    def __init__(self, study: StudySpec) -> None:
        self._study, self._prepared = study.with_workers(1), Prepared()
        self._host: WorkerHost | None = None
        self._outbox: list[Decision] = []

    def check(self) -> None:
        """Do nothing: this process runs already."""

    def open(self) -> None:
        """Do nothing: there is always a place in this process."""

    def start(self, prepared: Prepared) -> Sequence[int]:
        """Start the worker."""
        self._prepared = prepared
        self.replace(0)
        return (0,)

    def waiting(self) -> str | None:
        """Return None: nobody else holds this process."""
        return None

    def send(self, worker: int, decisions: Sequence[Decision]) -> None:  # noqa: ARG002 (there is one)
        """Send decisions to the worker."""
        self._outbox += decisions

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Exchange with the worker."""
        assert self._host is not None, "start comes first"
        decisions, self._outbox = self._outbox, []
        return [self._host.exchange(decisions, timeout_seconds).message(0)]

    def replace(self, worker: int) -> None:  # noqa: ARG002 (there is one)
        """Replace the worker by a new one."""
        self._outbox = []
        self._host = WorkerHost(self._study, self._prepared)

    def close(self) -> None:
        """End the worker."""
        if self._host is not None:
            self._host.close()
