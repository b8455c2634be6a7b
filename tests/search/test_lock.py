import os
import signal
import subprocess
import sys

import pytest

from loratory.search.lock import driver_lock, is_running
from loratory.spaces import InputError

HOLD = """
import sys, time
from pathlib import Path
from loratory.search.lock import driver_lock
with driver_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_refused_until_the_first_is_gone_however_it_went(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert is_running(tmp_path)
        with pytest.raises(InputError, match=f"process {holder.pid} on"), driver_lock(tmp_path):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    assert not is_running(tmp_path)
    with driver_lock(tmp_path):
        assert is_running(tmp_path)
    assert not is_running(tmp_path)


def test_a_folder_without_a_lock_is_not_running(tmp_path):
    assert not is_running(tmp_path)
