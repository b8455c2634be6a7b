"""Results that somebody else may still be working on."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def done(work: Callable[[], _T]) -> Future[_T]:
    """Some work, done now, as if it had been begun before: errors are raised where the result is read."""
    future: Future[_T] = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future
