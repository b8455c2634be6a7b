"""Texts scored beside other work: in a process of its own, so that nobody waits for what is plain Python."""

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from loratory.objectives.futures import completed
from loratory.objectives.metrics.scoring import TextScores

# Not one of multiprocessing's: those import the main module again, which may be a user's script.
_CHILD = "import sys; from loratory.objectives.metrics.jobs import work; work(int(sys.argv[1]))"

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
        self._process: _Process | None = None
        self._messenger = ThreadPoolExecutor(1, thread_name_prefix="texts")  # waits for the process

    def begin(self, job: Job) -> Future[TextScores]:
        """Begin a job, or do it; what goes wrong is raised where the scores are read."""
        return self._messenger.submit(self._sent, job) if self._apart else completed(job)

    def _sent(self, job: Job) -> TextScores:
        try:
            self._process = self._process or _Process()
            result = self._process.result(job)
        except Exception as error:
            _log.warning("the process that scores texts is lost (%r): they are scored without it", error)
            self._process = None
            return job()
        if isinstance(result, Exception):
            raise result
        return result


class _Process:
    """It ends when this side of its pipe is closed, or dead."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        number = theirs.fileno()
        path = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
        self.child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(number)],
            pass_fds=(number,),
            env={**os.environ, "PYTHONPATH": path},
            process_group=0,  # Ctrl-C is for the driver, which then ends everything in order
        )
        theirs.close()

    def result(self, job: Job) -> TextScores | Exception:
        self._connection.send(job)
        result: TextScores | Exception = self._connection.recv()
        return result

    def __del__(self) -> None:
        self._connection.close()
        self.child.wait()  # it is idle, or gone


def work(number: int) -> None:
    """Do the jobs that come through a pipe, until its other side is gone.

    Args:
        number: of the pipe's file.
    """
    jobs = Connection(number)
    with contextlib.suppress(EOFError, OSError):
        while True:
            jobs.send(_result(jobs.recv()))


def _result(job: Job) -> TextScores | Exception:
    try:
        return job()
    except Exception as error:  # it is raised where somebody waits
        return error
