"""Ctrl-C: the first stops in order, the second at once."""

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
    """Turn SIGINT and SIGTERM into a flag to ask; a second signal ends the process at once.

    What lies on disk is whole at any moment, so a forced end loses no more than the work since the last
    evaluation. Nothing is printed here: a signal may come in the middle of a print. Outside the main thread
    Python allows no handlers, and the flag is never set.
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
