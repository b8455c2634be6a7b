"""Texts scored beside other work: in a process of its own, so that nobody waits for what is plain Python."""

import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection

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
        """Begin a job, or do it."""
        if self._apart:
            return self._messenger.submit(self._sent, job)
        done: Future[TextScores] = Future()
        done.set_result(job())
        return done

    def _sent(self, job: Job) -> TextScores:
        try:
            self._process = self._process or _start()
            self._process.send(job)
            result: TextScores | Exception = self._process.recv()
        except (EOFError, OSError) as error:
            _log.warning("the process that scores texts ended (%r); they are scored without it", error)
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
    while True:
        try:
            job: Job = jobs.recv()
        except EOFError:
            return
        try:
            result: TextScores | Exception = job()
        except Exception as error:  # it is raised where somebody waits
            result = error
        jobs.send(result)
