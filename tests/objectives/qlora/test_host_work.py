import threading
from functools import partial

import pytest

from loratory.objectives.qlora.host_work import HostWork


def fail():
    raise MemoryError("no room")


def test_without_a_thread_work_is_done_at_once():
    assert HostWork(beside=False).begin(threading.get_ident).result() == threading.get_ident()
    with pytest.raises(MemoryError):
        HostWork(beside=False).begin(fail)


def test_a_thread_does_one_thing_after_the_other():
    work, order = HostWork(beside=True), []
    begun = [work.begin(partial(order.append, number)) for number in range(20)]
    threads = {work.begin(threading.get_ident).result() for _ in range(2)}
    assert all(job.done() for job in begun) and order == list(range(20))
    assert len(threads) == 1 and threads != {threading.get_ident()}


def test_what_goes_wrong_is_raised_where_the_result_is_read():
    work = HostWork(beside=True, most_pending=1)
    failed = work.begin(fail)
    assert [work.begin(partial(int, number)).result() for number in range(3)] == [0, 1, 2]
    with pytest.raises(MemoryError, match="no room"):
        failed.result()


def test_only_so_much_is_pending():
    work, go = HostWork(beside=True, most_pending=2), threading.Event()
    first, second = work.begin(go.wait), work.begin(partial(int, 1))
    later = threading.Thread(target=work.begin, args=(partial(int, 2),))
    later.start()
    later.join(0.2)
    assert later.is_alive() and not second.done()  # it waits for the first
    go.set()
    later.join(10)
    assert not later.is_alive() and first.done()
