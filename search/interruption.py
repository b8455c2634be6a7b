"""Ctrl-C: the first one stops the study in order, the second one at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit status of a run that a signal ended."""


@contextmanager
def catch_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag; a second signal ends the process at once.

    Files on disk are complete at any moment, so a forced end loses only the work since the last evaluation.
    The handler prints nothing, because a signal may arrive during a print. Outside the main thread Python
    allows no handlers, and the flag is never set.

    Yields:
        A function that returns whether a signal has arrived.
    """
    flag = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if flag.is_set():
            os._exit(INTERRUPTED)
        flag.set()

    if threading.current_thread() is not threading.main_thread():
        yield flag.is_set
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(number, handle) for number in signals]
    try:
        yield flag.is_set
    finally:
        for number, handler in zip(signals, earlier, strict=True):
            signal.signal(number, handler)
