import threading
import time

from loratory.reports.trackers.pending import News, PendingTrials


def test_news_of_one_trial_joins_and_the_oldest_comes_first():
    pending = PendingTrials()
    for _ in range(1000):
        pending.add("0005", final=False)
        pending.add("0003", final=False)
    pending.add("0005", final=True)
    pending.add("0005", final=False)
    assert len(pending) == 2
    assert pending.take() == News("0005", final=True)
    assert pending.take() == News("0003", final=False)


def test_what_is_being_read_counts_as_unread():
    pending = PendingTrials()
    pending.add("0000", final=True)
    pending.take()
    assert not pending.wait_until_read(0.05)
    reader = threading.Thread(target=pending.take)
    reader.start()
    assert pending.wait_until_read(5)
    pending.close()
    reader.join(5)
    assert not reader.is_alive()


def test_news_that_comes_while_a_trial_is_read_is_read_again():
    pending = PendingTrials()
    pending.add("0000", final=False)
    pending.take()
    pending.add("0000", final=True)
    assert pending.take() == News("0000", final=True)


def test_close_ends_a_pause():
    pending = PendingTrials()
    threading.Timer(0.05, pending.close).start()
    started = time.monotonic()
    pending.pause(30)
    assert time.monotonic() - started < 10
    assert pending.take() is None
