import gc
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from loratory.objectives.metrics.jobs import TextJobs
from loratory.objectives.metrics.scoring import score_texts
from loratory.spaces.errors import InputError

JOB = partial(score_texts, ("bleu", "rougeL"), ("one two three", "four"), ("one three two", "five"))

PARENT = """
import time
from functools import partial
from loratory.objectives.metrics.jobs import TextJobs
from loratory.objectives.metrics.scoring import score_texts

jobs = TextJobs(apart=True)  # a script without a guard
jobs.begin(partial(score_texts, ("exact_match",), ("a",), ("a",))).result()
print(jobs._process.child.pid, flush=True)
time.sleep(60)
"""


def assert_same(mine, theirs):
    assert mine.aggregate == theirs.aggregate and mine.signatures == theirs.signatures
    assert {n: v.tolist() for n, v in mine.metrics.items()} == {
        n: v.tolist() for n, v in theirs.metrics.items()
    }


def exists(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def until_gone(pid):
    deadline = time.monotonic() + 10
    while exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not exists(pid)


def test_scores_are_those_of_a_call():
    job = TextJobs(apart=False).begin(JOB)
    assert job.done()
    assert_same(job.result(), JOB())


def test_one_process_does_all_jobs_in_turn():
    jobs = TextJobs(apart=True)
    begun = [jobs.begin(partial(score_texts, ("exact_match",), ("a",), (text,))) for text in "abc"]
    assert [job.result().aggregate["exact_match"] for job in begun] == [1.0, 0.0, 0.0]
    pid = jobs._process.child.pid
    assert_same(jobs.begin(JOB).result(), JOB())
    assert jobs._process.child.pid == pid


@pytest.mark.parametrize("apart", [False, True])
def test_what_is_wrong_with_texts_is_said_as_in_a_call(apart):
    with pytest.raises(InputError, match="metric must be one of"):
        TextJobs(apart=apart).begin(partial(score_texts, ("nonsense",), ("a",), ("a",))).result()


def test_jobs_of_a_process_that_died_are_done_here_and_the_next_have_a_new_one(caplog):
    jobs = TextJobs(apart=True)
    jobs.begin(JOB).result()
    pid = jobs._process.child.pid
    os.kill(pid, signal.SIGSTOP)
    lost = jobs.begin(JOB)
    os.kill(pid, signal.SIGKILL)
    assert_same(lost.result(), JOB())
    assert "the process that scores texts is lost" in caplog.text
    assert_same(jobs.begin(JOB).result(), JOB())
    assert jobs._process.child.pid != pid


def test_an_interrupt_at_the_terminal_does_not_reach_the_process():
    jobs = TextJobs(apart=True)
    jobs.begin(JOB).result()
    assert os.getpgid(jobs._process.child.pid) != os.getpgid(0)


def test_the_process_is_gone_with_its_owner():
    jobs = TextJobs(apart=True)
    jobs.begin(JOB).result()
    child = jobs._process.child
    del jobs
    gc.collect()
    assert child.wait(10) == 0


def test_the_process_ends_when_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        (pid,) = map(int, parent.stdout.readline().split())
        assert exists(pid)
        parent.kill()
        parent.wait()
        assert until_gone(pid)
