"""Work on trials' matrices beside the device's own: copies that come from it, and files made of them."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from loratory.objectives.futures import done

_T = TypeVar("_T")


class HostWork:
    """A thread that does one thing after the other."""

    def __init__(self, *, beside: bool, most_bytes: int | None = None) -> None:
        """Nothing is begun yet.

        Args:
            beside: whether there is a thread; else `begin` does the work, where a CPU is all that there is.
            most_bytes: so much memory may what is not done yet hold together; None for any amount.
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="host-work") if beside else None
        self._most, self._pending = most_bytes, dict[Future[Any], int]()

    def begin(self, work: Callable[[], _T], *, nbytes: int = 0) -> Future[_T]:
        """Begin some work, or do it; where what is pending holds too much, wait until it holds less.

        What goes wrong is raised where the result is read.

        Args:
            work: what is to be done.
            nbytes: memory that it holds until it is done.
        """
        if self._thread is None:
            return done(work)
        begun = self._thread.submit(work)
        self._pending[begun] = nbytes
        begun.add_done_callback(self._pending.pop)
        while self._most is not None and sum(self._pending.copy().values()) > self._most:
            wait(self._pending.copy(), return_when=FIRST_COMPLETED)
        return begun

    def finish(self) -> bool:
        """Wait for all that is pending; whether anything was."""
        pending = self._pending.copy()
        wait(pending)
        return bool(pending)
