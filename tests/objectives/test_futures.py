import gc
import threading
import weakref
from functools import partial

import pytest

from loratory.objectives.futures import SerialThread


def fail():
    raise MemoryError("no room")


def test_without_a_thread_work_is_done_at_once():
    assert SerialThread(threaded=False).begin(threading.get_ident).result() == threading.get_ident()
    with pytest.raises(MemoryError):
        SerialThread(threaded=False).begin(fail).result()


def test_a_thread_does_one_thing_after_the_other():
    work, order = SerialThread(threaded=True), []
    begun = [work.begin(partial(order.append, number)) for number in range(20)]
    threads = {work.begin(threading.get_ident).result() for _ in range(2)}
    assert all(job.done() for job in begun) and order == list(range(20))
    assert len(threads) == 1 and threads != {threading.get_ident()}


def test_what_goes_wrong_is_raised_where_the_result_is_read():
    work = SerialThread(threaded=True, byte_limit=0)
    failed = work.begin(fail)
    assert [work.begin(partial(int, number)).result() for number in range(3)] == [0, 1, 2]
    with pytest.raises(MemoryError, match="no room"):
        failed.result()


def test_what_is_pending_holds_so_much_and_no_more():
    work, go = SerialThread(threaded=True, byte_limit=10), threading.Event()
    first, second = work.begin(go.wait, nbytes=6), work.begin(partial(int, 1), nbytes=4)
    later = threading.Thread(target=partial(work.begin, partial(int, 2), nbytes=1))
    later.start()
    later.join(0.2)
    assert later.is_alive() and not second.done()  # it waits for the first
    go.set()
    later.join(10)
    assert not later.is_alive() and first.done()


def test_to_finish_is_to_wait_for_all_that_is_pending():
    work, go = SerialThread(threaded=True), threading.Event()
    assert not work.finish()
    begun = [work.begin(go.wait), work.begin(partial(int, 1))]
    threading.Timer(0.1, go.set).start()
    assert work.finish() and all(job.done() for job in begun)
    assert not SerialThread(threaded=False).finish()


def test_nothing_is_kept_of_what_is_done():
    class Large:
        pass

    work = SerialThread(threaded=True, byte_limit=10)
    begun = work.begin(Large, nbytes=1)
    kept = weakref.ref(begun.result())
    work.begin(partial(int, 1)).result()  # the thread itself holds on to what it did last
    del begun
    gc.collect()
    assert kept() is None
