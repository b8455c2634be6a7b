"""Results that may still be in the making, and a thread that makes them one after the other."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

_T = TypeVar("_T")


def completed(work: Callable[[], _T]) -> Future[_T]:
    """Do some work now and return its future; an exception is raised where the result is read."""
    future: Future[_T] = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future


class SerialThread:
    """A thread that does one piece of work after the other, beside the thread that launches kernels."""

    def __init__(self, *, threaded: bool, byte_limit: int | None = None) -> None:
        """Start without work.

        Args:
            threaded: whether there is a thread; else `begin` does the work, where a CPU is all that there is.
            byte_limit: limit on the bytes held by unfinished work; None: no limit.
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="serial") if threaded else None
        self._limit, self._pending = byte_limit, dict[Future[Any], int]()

    def begin(self, work: Callable[[], _T], *, nbytes: int = 0) -> Future[_T]:
        """Begin some work, or do it; wait first where unfinished work would hold more than the limit.

        An exception is raised where the result is read.

        Args:
            work: what is to be done.
            nbytes: bytes that it holds until it is done.
        """
        if self._thread is None:
            return completed(work)
        begun = self._thread.submit(work)
        self._pending[begun] = nbytes
        begun.add_done_callback(self._pending.pop)
        while self._limit is not None and sum(self._pending.copy().values()) > self._limit:
            wait(self._pending.copy(), return_when=FIRST_COMPLETED)
        return begun

    def finish(self) -> bool:
        """Wait for all unfinished work; return whether there was any."""
        pending = self._pending.copy()
        wait(pending)
        return bool(pending)
