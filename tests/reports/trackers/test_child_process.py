import os
import time

import pytest

from loratory.reports.trackers.child_process import ChildLostError, ChildProcess

_ECHO = """
import json, sys, time
for line in sys.stdin:
    request = json.loads(line)
    if "exit" in request:
        sys.exit(request["exit"])
    time.sleep(request.get("sleep", 0))
    print(json.dumps({"echo": request}), flush=True)
print("bye", file=sys.stderr)
"""


@pytest.fixture
def child(tmp_path):
    (tmp_path / "echo_child.py").write_text(_ECHO)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    child = ChildProcess("echo_child", environment, tmp_path / "logs" / "child.log")
    yield child
    child.kill()
    child.close(5)


def test_answers_come_in_order_and_the_end_of_input_ends_it(child, tmp_path):
    assert child.ask({"a": 1}, 30) == {"echo": {"a": 1}}
    assert child.ask({"long": "x" * 200_000}, 30)["echo"]["long"] == "x" * 200_000
    assert child.close(10)
    assert (tmp_path / "logs" / "child.log").read_text() == "bye\n"


def test_a_dead_child_is_an_error(child):
    with pytest.raises(ChildLostError, match="exit status 3"):
        child.ask({"exit": 3}, 30)
    with pytest.raises(ChildLostError, match="ended"):
        child.ask({"a": 1}, 30)


def test_a_silent_child_is_an_error_in_time_and_can_be_ended(child):
    started = time.monotonic()
    with pytest.raises(ChildLostError, match="gave no answer"):
        child.ask({"sleep": 60}, 0.3)
    assert not child.close(0.3)
    assert time.monotonic() - started < 10
