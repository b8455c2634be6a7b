"""Work on trials' matrices that needs no device: it goes on beside the device's."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

_T = TypeVar("_T")


class HostWork:
    """A thread that does one thing after the other."""

    def __init__(self, *, beside: bool, most_pending: int | None = None) -> None:
        """Nothing is begun yet.

        Args:
            beside: whether there is a thread; else `begin` does the work, where a CPU is all that there is.
            most_pending: so much may wait or be under way; None for any number.
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="host-work") if beside else None
        self._most, self._pending = most_pending, deque[Future[Any]]()

    def begin(self, work: Callable[[], _T]) -> Future[_T]:
        """Begin some work, or do it; where enough is pending, wait for the first of that."""
        if self._thread is None:
            done: Future[_T] = Future()
            done.set_result(work())
            return done
        begun = self._thread.submit(work)
        self._pending.append(begun)
        while self._pending and (self._pending[0].done() or self._too_many):
            wait([self._pending.popleft()])  # what went wrong in it is raised where its result is read
        return begun

    @property
    def _too_many(self) -> bool:
        return self._most is not None and len(self._pending) > self._most
