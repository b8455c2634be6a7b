"""Texts scored beside other work: in a process of its own, so that nobody waits for what is plain Python."""

import contextlib
import logging
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection

from loratory.objectives.futures import done
from loratory.objectives.metrics.scoring import TextScores

_log = logging.getLogger(__name__)

Job = Callable[[], TextScores]
"""Calls `score_texts`; a process takes only what can be pickled."""


class TextJobs:
    """Jobs, done in the order in which they come.

    A thread alone would not do: it would share the interpreter's lock with the one that launches kernels.
    """

    def __init__(self, *, apart: bool) -> None:
        """Nothing is begun yet.

        Args:
            apart: whether a process does them, which starts with the first; else `begin` does.
        """
        self._apart = apart
        self._process: Connection | None = None
        self._messenger = ThreadPoolExecutor(1, thread_name_prefix="texts")  # waits for the process

    def begin(self, job: Job) -> Future[TextScores]:
        """Begin a job, or do it; what goes wrong is raised where the scores are read."""
        return self._messenger.submit(self._sent, job) if self._apart else done(job)

    def _sent(self, job: Job) -> TextScores:
        try:
            self._process = self._process or _start()
            self._process.send(job)
            result: TextScores | Exception = self._process.recv()
        except Exception as error:
            _log.warning("the process that scores texts is lost (%r): they are scored without it", error)
            self._process = None
            return job()
        if isinstance(result, Exception):
            raise result
        return result


def _start() -> Connection:
    context = multiprocessing.get_context("spawn")  # a fork would copy a process that uses a GPU
    ours, theirs = context.Pipe()
    context.Process(target=_work, args=(theirs,), name="texts", daemon=True).start()
    theirs.close()
    return ours


def _work(jobs: Connection) -> None:
    """Do what comes, until the other side is closed or dead."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the driver, which then ends everything in order
    with contextlib.suppress(EOFError, OSError):
        while True:
            jobs.send(_result(jobs.recv()))


def _result(job: Job) -> TextScores | Exception:
    try:
        return job()
    except Exception as error:  # it is raised where somebody waits
        return error
