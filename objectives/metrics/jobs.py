"""Score texts in a separate process, so that a GPU does not wait for plain Python."""

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

# Not a multiprocessing child: it would import the main module again, which may be a user's script.
_CHILD = "import sys; from loratory.objectives.metrics.jobs import work; work(int(sys.argv[1]))"

_log = logging.getLogger(__name__)

Job = Callable[[], TextScores]
"""A picklable call that scores texts."""


class TextJobs:
    """Does jobs in the order in which they come.

    The jobs run in a process, since a thread would share the interpreter's lock with the thread that
    launches kernels.
    """

    def __init__(self, *, apart: bool) -> None:
        """Start nothing yet.

        Args:
            apart: whether jobs run in a process, which starts with the first job; else `begin` runs them.
        """
        self._apart = apart
        self._process: _Process | None = None
        self._messenger = ThreadPoolExecutor(1, thread_name_prefix="texts")  # waits for the process

    def begin(self, job: Job) -> Future[TextScores]:
        """Begin a job, or do it; the future raises the job's errors."""
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
    """A process that does jobs; it ends when this side of its pipe is closed."""

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
        self.child.wait()  # it is idle or has ended, so this returns soon


def work(number: int) -> None:
    """Do the jobs that come through a pipe, until its other side is closed.

    Args:
        number: file descriptor of the pipe.
    """
    jobs = Connection(number)
    with contextlib.suppress(EOFError, OSError):
        while True:
            jobs.send(_result(jobs.recv()))


def _result(job: Job) -> TextScores | Exception:
    try:
        return job()
    except Exception as error:  # the caller's process raises it
        return error
